;; Asks for more random bytes than there are at once.
(module
  (import "staunch:random/random@1.0.0" "bytes" (func $bytes (param i32 i32)))
  ;;@prelude
  (func (export "staunch:plugin/remediation@1.0.0#remediate") (param i32 i32) (result i32)
    (call $bytes (i32.const -1) (i32.const 3100))
    (i32.const 1024))
)
