;; Tries to restart a unit while it is asked whether the fix worked.
(module
  (import "staunch:service/service@1.0.0" "restart" (func $restart (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
  ;;@prelude
  (data (i32.const 2048) "web.service")
  (func (export "staunch:plugin/verification@1.0.0#verify") (param i32 i32) (result i32)
    (call $restart
      (i32.const 2048) (i32.const 11)
      (i32.const 2048) (i32.const 3)
      (i32.const 0) (i32.const 0) (i32.const 0)
      (i32.const 0) (i32.const 0) (i32.const 0)
      (i32.const 1536))
    ;; Passes the refusal on.
    (i32.store8 (i32.const 1024) (i32.load8_u (i32.const 1536)))
    (memory.copy (i32.const 1028) (i32.const 1540) (i32.const 20))
    (i32.const 1024))
)
