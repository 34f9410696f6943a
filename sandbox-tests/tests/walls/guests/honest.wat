;; Does nothing and says so.
(module
  ;;@prelude
  (data (i32.const 2048) "nothing to do")
  (func (export "staunch:plugin/remediation@1.0.0#remediate") (param i32 i32) (result i32)
    (i32.store (i32.const 1028) (i32.const 2048))
    (i32.store (i32.const 1032) (i32.const 13))
    (i32.const 1024))
)
