;; Sends the same POST twice.
(module
  (import "staunch:http/http@1.0.0" "send" (func $send (param i32 i32)))
  ;;@prelude
  (data (i32.const 2048) "POST")
  (data (i32.const 2064) "because it is broken")
  ;; request and intent at 512: the input is the address.
  (func (export "staunch:plugin/remediation@1.0.0#remediate") (param $address i32) (param $length i32) (result i32)
    (local $left i32)
    (i32.store (i32.const 512) (i32.const 2048))
    (i32.store (i32.const 516) (i32.const 4))
    (i32.store (i32.const 520) (local.get $address))
    (i32.store (i32.const 524) (local.get $length))
    (i32.store (i32.const 556) (i32.const 2064))
    (i32.store (i32.const 560) (i32.const 20))
    (local.set $left (i32.const 2))
    (loop $again
      (call $send (i32.const 512) (i32.const 1536))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br_if $again (i32.gt_s (local.get $left) (i32.const 0))))
    (if (i32.load8_u (i32.const 1536))
      (then
        ;; The call's error is its own.
        (i32.store8 (i32.const 1024) (i32.const 1))
        (memory.copy (i32.const 1028) (i32.const 1540) (i32.const 20)))
      (else
        ;; The body of the answer is its summary.
        (i32.store (i32.const 1028) (i32.load (i32.const 1552)))
        (i32.store (i32.const 1032) (i32.load (i32.const 1556)))
        (i32.store8 (i32.const 1036) (i32.const 1))))
    (i32.const 1024))
)
