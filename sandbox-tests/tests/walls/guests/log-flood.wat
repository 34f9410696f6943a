;; Writes a hundred thousand lines, the first of 100,000 bytes.
(module
  (import "staunch:log/log@1.0.0" "write" (func $write (param i32 i32 i32)))
  ;;@prelude
  (func (export "staunch:plugin/remediation@1.0.0#remediate") (param i32 i32) (result i32)
    (local $left i32)
    (drop (memory.grow (i32.const 4)))
    (memory.fill (i32.const 65536) (i32.const 120) (i32.const 100000))
    (call $write (i32.const 1) (i32.const 65536) (i32.const 100000))
    (local.set $left (i32.const 100000))
    (loop $again
      (call $write (i32.const 2) (i32.const 65536) (i32.const 20))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br_if $again (local.get $left)))
    (i32.const 1024))
)
