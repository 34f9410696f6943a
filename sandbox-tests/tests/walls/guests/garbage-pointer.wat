;; Returns a summary outside its memory.
(module
  ;;@prelude
  (func (export "staunch:plugin/remediation@1.0.0#remediate") (param i32 i32) (result i32)
    (i32.store (i32.const 1028) (i32.const -16))
    (i32.store (i32.const 1032) (i32.const 100))
    (i32.const 1024))
)
