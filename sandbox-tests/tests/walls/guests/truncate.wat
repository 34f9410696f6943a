;; Empties the file that its input is.
(module
  (import "staunch:file/file@1.0.0" "truncate" (func $truncate (param i32 i32 i64 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
  ;;@prelude
  (data (i32.const 2048) "too big")
  (func (export "staunch:plugin/remediation@1.0.0#remediate") (param $path i32) (param $length i32) (result i32)
    (call $truncate
      (local.get $path) (local.get $length) (i64.const 0)
      (i32.const 2048) (i32.const 7)
      (i32.const 0) (i32.const 0) (i32.const 0)
      (i32.const 0) (i32.const 0) (i32.const 0)
      (i32.const 1536))
    (if (i32.load8_u (i32.const 1536))
      (then
        (i32.store8 (i32.const 1024) (i32.const 1))
        (memory.copy (i32.const 1028) (i32.const 1544) (i32.const 20))))
    (i32.const 1024))
)
