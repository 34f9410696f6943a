;; Returns details that are no JSON.
(module
  ;;@prelude
  (data (i32.const 2048) "{not json")
  (func (export "staunch:plugin/remediation@1.0.0#remediate") (param i32 i32) (result i32)
    (i32.store8 (i32.const 1040) (i32.const 1))
    (i32.store (i32.const 1044) (i32.const 2048))
    (i32.store (i32.const 1048) (i32.const 9))
    (i32.const 1024))
)
