;; Returns a summary of 1 MiB.
(module
  ;;@prelude
  (func (export "staunch:plugin/remediation@1.0.0#remediate") (param i32 i32) (result i32)
    (drop (memory.grow (i32.const 32)))
    (memory.fill (i32.const 65536) (i32.const 120) (i32.const 1048576))
    (i32.store (i32.const 1028) (i32.const 65536))
    (i32.store (i32.const 1032) (i32.const 1048576))
    (i32.const 1024))
)
