;; Asks for a network, which nobody has.
(module
  (import "wasi:sockets/instance-network@0.2.3" "instance-network" (func $network (result i32)))
  ;;@prelude
  (func (export "staunch:plugin/remediation@1.0.0#remediate") (param i32 i32) (result i32)
    (drop (call $network))
    (i32.const 1024))
)
