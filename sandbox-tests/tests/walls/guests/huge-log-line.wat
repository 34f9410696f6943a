;; Writes one line of 16 MiB.
(module
  (import "staunch:log/log@1.0.0" "write" (func $write (param i32 i32 i32)))
  ;;@prelude
  (func (export "staunch:plugin/remediation@1.0.0#remediate") (param i32 i32) (result i32)
    (drop (memory.grow (i32.const 300)))
    (call $write (i32.const 1) (i32.const 0) (i32.const 16777216))
    (i32.const 1024))
)
