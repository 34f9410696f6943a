;; Returns a case that does not exist.
(module
  ;;@prelude
  (func (export "staunch:plugin/remediation@1.0.0#remediate") (param i32 i32) (result i32)
    (i32.store8 (i32.const 1024) (i32.const 7))
    (i32.const 1024))
)
