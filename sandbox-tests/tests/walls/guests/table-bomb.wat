;; Takes all table elements that it can get.
(module
  ;;@prelude
  (table $table 1 funcref)
  (func (export "staunch:plugin/remediation@1.0.0#remediate") (param i32 i32) (result i32)
    (loop $forever
      (drop (table.grow $table (ref.null func) (i32.const 10000)))
      (br $forever))
    unreachable)
)
