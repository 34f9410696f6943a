;; Sleeps for an hour.
(module
  (import "staunch:clock/clock@1.0.0" "sleep" (func $sleep (param i32)))
  ;;@prelude
  (func (export "staunch:plugin/remediation@1.0.0#remediate") (param i32 i32) (result i32)
    (call $sleep (i32.const 3600000))
    (i32.const 1024))
)
