;; Is born with more memory than it may have.
(module
  (memory (export "memory") 2000)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 65536))
  (func (export "staunch:plugin/remediation@1.0.0#remediate") (param i32 i32) (result i32) (i32.const 1024))
)
