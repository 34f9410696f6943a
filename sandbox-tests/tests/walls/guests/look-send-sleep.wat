;; Looks at the address of its input `{"url":"ADDRESS"}`, sends a POST there, with a time limit if what it saw was
;; well, and sleeps for two seconds before it returns.
(module
  (import "staunch:http/http@1.0.0" "send" (func $send (param i32 i32)))
  (import "staunch:http/http@1.0.0" "read"
    (func $read (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
  (import "staunch:clock/clock@1.0.0" "sleep" (func $sleep (param i32)))
  ;;@prelude
  (data (i32.const 2048) "POST")
  (data (i32.const 2056) "GET")
  (data (i32.const 2064) "because it is broken")
  (func (export "staunch:plugin/remediation@1.0.0#remediate") (param $address i32) (param $length i32) (result i32)
    (local.set $address (i32.add (local.get $address) (i32.const 8)))
    (local.set $length (i32.sub (local.get $length) (i32.const 10)))
    (i32.store (i32.const 512) (i32.const 2048))
    (i32.store (i32.const 516) (i32.const 4))
    (i32.store (i32.const 520) (local.get $address))
    (i32.store (i32.const 524) (local.get $length))
    (i32.store (i32.const 556) (i32.const 2064))
    (i32.store (i32.const 560) (i32.const 20))
    (call $read
      (i32.const 2056) (i32.const 3)
      (local.get $address) (local.get $length)
      (i32.const 0) (i32.const 0)
      (i32.const 0) (i32.const 0) (i32.const 0)
      (i32.const 0) (i32.const 0)
      (i32.const 1536))
    (if (i32.eq (i32.load16_u (i32.const 1540)) (i32.const 200))
      (then
        (i32.store8 (i32.const 548) (i32.const 1))
        (i32.store (i32.const 552) (i32.const 9000))))
    (call $send (i32.const 512) (i32.const 1536))
    (call $sleep (i32.const 2000))
    (if (i32.load8_u (i32.const 1536))
      (then
        (i32.store8 (i32.const 1024) (i32.const 1))
        (memory.copy (i32.const 1028) (i32.const 1540) (i32.const 20)))
      (else
        (i32.store (i32.const 1028) (i32.load (i32.const 1552)))
        (i32.store (i32.const 1032) (i32.load (i32.const 1556)))
        (i32.store8 (i32.const 1036) (i32.const 1))))
    (i32.const 1024))
)
