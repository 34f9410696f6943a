;; Uses what WASI guests use when they start, prints what it found, and returns its random number and its clock.
(module
  (import "wasi:cli/environment@0.2.3" "get-environment" (func $environment (param i32)))
  (import "wasi:cli/stdout@0.2.3" "get-stdout" (func $stdout (result i32)))
  (import "wasi:io/streams@0.2.3" "[method]output-stream.blocking-write-and-flush"
    (func $write (param i32 i32 i32 i32)))
  (import "wasi:random/random@0.2.3" "get-random-u64" (func $random (result i64)))
  (import "wasi:clocks/wall-clock@0.2.3" "now" (func $now (param i32)))
  ;;@prelude
  (data (i32.const 2048) "hello from wasi\nagain")
  (func (export "staunch:plugin/remediation@1.0.0#remediate") (param i32 i32) (result i32)
    (call $environment (i32.const 3000))
    ;; There is none.
    (if (i32.load (i32.const 3004)) (then unreachable))
    (call $write (call $stdout) (i32.const 2048) (i32.const 21) (i32.const 3016))
    (call $now (i32.const 3040))
    ;; The run began at second 1,000,000.
    (if (i64.ne (i64.load (i32.const 3040)) (i64.const 1000000)) (then unreachable))
    (if (i64.eqz (call $random)) (then unreachable))
    (i32.const 1024))
)
