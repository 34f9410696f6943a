;; Takes all memory that it can get.
(module
  ;;@prelude
  (func (export "staunch:plugin/remediation@1.0.0#remediate") (param i32 i32) (result i32)
    (loop $forever
      (drop (memory.grow (i32.const 16)))
      (br $forever))
    unreachable)
)
