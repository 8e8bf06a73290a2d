;; Bids what its configuration says, and is silent without one. What it wins it does: it answers with the task, and says so
;; in its log. A request is answered with what it says.
;;
;; Memory: what it is from 64, a result without an error at 1024, texts from 1100, what calls give at 2048, the host's from 8192.
(module
  (import "paddock:agent/messaging@0.1.0" "reply" (func $reply (param i32 i32 i32 i32 i32 i32)))
  (import "paddock:agent/state@0.1.0" "get" (func $get (param i32 i32 i32)))
  (import "paddock:agent/log@0.1.0" "write" (func $log (param i32 i32 i32)))
  (memory (export "memory") 1)
  ;; description: no name; the text at 16; no capabilities, no tools.
  (data (i32.const 16) "bids what it is told to bid")
  (data (i32.const 76) "\10\00\00\00\1b\00\00\00")
  (data (i32.const 1100) "config")
  (data (i32.const 1108) "application/json")
  (global $next (mut i32) (i32.const 8192))
  (func (export "cabi_realloc") (param $old i32) (param $size i32) (param $align i32) (param $new i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
    (global.set $next (i32.add (local.get $at) (local.get $new)))
    (block $fits
      (br_if $fits (i32.le_u (global.get $next) (i32.mul (memory.size) (i32.const 65536))))
      (drop (memory.grow (i32.const 64))))
    (local.get $at))
  (func (export "paddock:agent/handler@0.1.0#describe") (result i32) (i32.const 64))
  (func (export "paddock:agent/handler@0.1.0#init")
    (param $name i32) (param $length i32) (param $first i32) (param $some i32) (param $snapshot i32) (param $size i32)
    (result i32)
    (i32.const 1024))
  ;; Answers with what the message says.
  (func $echo (param $message i32)
    (call $reply (i32.const 7 (; inform ;)) (i32.load offset=28 (local.get $message))
      (i32.load offset=32 (local.get $message)) (i32.load offset=36 (local.get $message))
      (i32.load offset=40 (local.get $message)) (i32.const 2048)))
  (func (export "paddock:agent/handler@0.1.0#handle") (param $message i32) (result i32)
    (local $performative i32)
    (local.set $performative (i32.load8_u offset=8 (local.get $message)))
    (if (i32.eq (local.get $performative) (i32.const 3 (; cfp ;)))
      (then
        (call $get (i32.const 1100) (i32.const 6) (i32.const 2048))
        (if (i32.load8_u (i32.const 2048))
          (then
            (call $reply (i32.const 12 (; propose ;)) (i32.const 1108) (i32.const 16)
              (i32.load (i32.const 2052)) (i32.load (i32.const 2056)) (i32.const 2064))))))
    (if (i32.eq (local.get $performative) (i32.const 0 (; accept-proposal ;)))
      (then
        (call $log (i32.const 2 (; info ;)) (i32.load offset=36 (local.get $message))
          (i32.load offset=40 (local.get $message)))
        (call $echo (local.get $message))))
    (if (i32.eq (local.get $performative) (i32.const 18 (; request ;)))
      (then (call $echo (local.get $message))))
    (global.set $next (i32.const 8192))
    (i32.const 1024)))
