;; Gives up before it is called.
(module
  ;;@prelude
  (func $start unreachable)
  (start $start)
  (func (export "staunch:plugin/remediation@1.0.0#remediate") (param i32 i32) (result i32) (i32.const 1024))
)
