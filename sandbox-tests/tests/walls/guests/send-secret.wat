;; Sends a POST with the header `authorization: secret://token` to the address that its input is.
(module
  (import "staunch:http/http@1.0.0" "send" (func $send (param i32 i32)))
  ;;@prelude
  (data (i32.const 2048) "POST")
  (data (i32.const 2064) "authorization")
  (data (i32.const 2080) "Bearer secret://token")
  (func (export "staunch:plugin/remediation@1.0.0#remediate") (param $address i32) (param $length i32) (result i32)
    (i32.store (i32.const 512) (i32.const 2048))
    (i32.store (i32.const 516) (i32.const 4))
    (i32.store (i32.const 520) (local.get $address))
    (i32.store (i32.const 524) (local.get $length))
    (i32.store (i32.const 528) (i32.const 600))
    (i32.store (i32.const 532) (i32.const 1))
    (i32.store (i32.const 600) (i32.const 2064))
    (i32.store (i32.const 604) (i32.const 13))
    (i32.store (i32.const 608) (i32.const 2080))
    (i32.store (i32.const 612) (i32.const 21))
    (call $send (i32.const 512) (i32.const 1536))
    (if (i32.load8_u (i32.const 1536))
      (then
        (i32.store8 (i32.const 1024) (i32.const 1))
        (memory.copy (i32.const 1028) (i32.const 1540) (i32.const 20)))
      (else
        (i32.store (i32.const 1028) (i32.load (i32.const 1552)))
        (i32.store (i32.const 1032) (i32.load (i32.const 1556)))))
    (i32.const 1024))
)
