;; Returns its clock and eight random bytes as its summary.
(module
  (import "staunch:clock/clock@1.0.0" "now" (func $now (result i64)))
  (import "staunch:random/random@1.0.0" "bytes" (func $bytes (param i32 i32)))
  ;;@prelude
  (func $digit (param $at i32) (param $value i32)
    (i32.store8 (local.get $at) (i32.add (i32.const 97) (i32.and (local.get $value) (i32.const 15)))))
  (func (export "staunch:plugin/remediation@1.0.0#remediate") (param i32 i32) (result i32)
    (local $place i32)
    (i64.store (i32.const 3072) (call $now))
    (call $bytes (i32.const 8) (i32.const 3100))
    (i64.store (i32.const 3080) (i64.load (i32.load (i32.const 3100))))
    (loop $again
      (call $digit
        (i32.add (i32.const 3200) (i32.mul (local.get $place) (i32.const 2)))
        (i32.load8_u (i32.add (i32.const 3072) (local.get $place))))
      (call $digit
        (i32.add (i32.const 3201) (i32.mul (local.get $place) (i32.const 2)))
        (i32.shr_u (i32.load8_u (i32.add (i32.const 3072) (local.get $place))) (i32.const 4)))
      (local.set $place (i32.add (local.get $place) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $place) (i32.const 16))))
    (i32.store (i32.const 1028) (i32.const 3200))
    (i32.store (i32.const 1032) (i32.const 32))
    (i32.const 1024))
)
