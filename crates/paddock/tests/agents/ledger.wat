;; Keeps books of what it is told and of what it tells others, all of it in one value of its state:
;;
;;   at 0    16 numbers: messages that came, by the stream that they belong to (an agent's number, or a caller's)
;;   at 64   16 numbers: messages that it sent, by the agent that they went to
;;   at 128  the sum of the numbers in the messages that came (64 bits)
;;   at 136  how many came
;;   at 140  how many came that were not the next of their stream: lost, twice, or out of order
;;
;; A message is a number (32 bits), its number within its stream (32 bits), the stream (8 bits), how often it is to be
;; passed on (8 bits), and to which agents, the last one first (6 times 8 bits). `query-ref` is answered with the books.
;;
;; Memory: what it is from 64, a result without an error at 1024, texts from 1100, what calls give at 2048, the books at
;; 3072, a message to be sent at 4096, the host's from 8192.
(module
  (import "paddock:agent/messaging@0.1.0" "reply" (func $reply (param i32 i32 i32 i32 i32 i32)))
  (import "paddock:agent/messaging@0.1.0" "send" (func $send (param i32 i32)))
  (import "paddock:agent/state@0.1.0" "get" (func $get (param i32 i32 i32)))
  (import "paddock:agent/state@0.1.0" "set" (func $set (param i32 i32 i32 i32 i32)))
  (memory (export "memory") 1)
  ;; description: no name; the text at 16; no capabilities, no tools.
  (data (i32.const 16) "keeps books")
  (data (i32.const 76) "\10\00\00\00\0b\00\00\00")
  (data (i32.const 1100) "books")
  ;; draft: inform, one receiver (4300), octets (4340), 16 bytes (4400), nothing optional, durable.
  (data (i32.const 4096) "\07\00\00\00\cc\10\00\00\01\00\00\00\f4\10\00\00\18\00\00\00\30\11\00\00\10\00\00\00")
  (data (i32.const 4224) "\01")
  (data (i32.const 4300) "\e0\10\00\00\08\00\00\00")
  (data (i32.const 4320) "ledger-0")
  (data (i32.const 4340) "application/octet-stream")
  (global $next (mut i32) (i32.const 8192))
  (global $own (mut i32) (i32.const 0))
  (func (export "cabi_realloc") (param $old i32) (param $size i32) (param $align i32) (param $new i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
    (global.set $next (i32.add (local.get $at) (local.get $new)))
    (block $fits
      (br_if $fits (i32.le_u (global.get $next) (i32.mul (memory.size) (i32.const 65536))))
      (drop (memory.grow (i32.const 64))))
    (local.get $at))
  (func $add (param $at i32) (param $more i32)
    (i32.store (local.get $at) (i32.add (i32.load (local.get $at)) (local.get $more))))
  (func (export "paddock:agent/handler@0.1.0#describe") (result i32) (i32.const 64))
  ;; Its number is the last character of its name.
  (func (export "paddock:agent/handler@0.1.0#init")
    (param $name i32) (param $length i32) (param $first i32) (param $some i32) (param $snapshot i32) (param $size i32)
    (result i32)
    (global.set $own
      (i32.sub (i32.load8_u (i32.sub (i32.add (local.get $name) (local.get $length)) (i32.const 1))) (i32.const 48)))
    (global.set $next (i32.const 8192))
    (i32.const 1024))
  (func $open
    (call $get (i32.const 1100) (i32.const 5) (i32.const 2048))
    (if (i32.load8_u (i32.const 2048))
      (then (memory.copy (i32.const 3072) (i32.load (i32.const 2052)) (i32.const 144)))
      (else (memory.fill (i32.const 3072) (i32.const 0) (i32.const 144)))))
  (func $enter (param $body i32)
    (local $stream i32)
    (local.set $stream (i32.add (i32.const 3072) (i32.mul (i32.load8_u offset=8 (local.get $body)) (i32.const 4))))
    (if (i32.ne (i32.load (local.get $stream)) (i32.load offset=4 (local.get $body)))
      (then (call $add (i32.const 3212) (i32.const 1))))
    (call $add (local.get $stream) (i32.const 1))
    (call $add (i32.const 3208) (i32.const 1))
    (i64.store (i32.const 3200)
      (i64.add (i64.load (i32.const 3200)) (i64.extend_i32_u (i32.load (local.get $body))))))
  (func $pass_on (param $body i32) (param $times i32)
    (local $to i32) (local $sent i32)
    (local.set $to (i32.load8_u offset=9 (i32.add (local.get $body) (local.get $times))))
    (local.set $sent (i32.add (i32.const 3136) (i32.mul (local.get $to) (i32.const 4))))
    (memory.copy (i32.const 4400) (local.get $body) (i32.const 16))
    (i32.store (i32.const 4404) (i32.load (local.get $sent)))
    (i32.store8 (i32.const 4408) (global.get $own))
    (i32.store8 (i32.const 4409) (i32.sub (local.get $times) (i32.const 1)))
    (i32.store8 (i32.const 4327) (i32.add (i32.const 48) (local.get $to)))
    (call $add (local.get $sent) (i32.const 1))
    (call $send (i32.const 4096) (i32.const 2048))
    (if (i32.load8_u (i32.const 2048)) (then (unreachable))))
  (func (export "paddock:agent/handler@0.1.0#handle") (param $message i32) (result i32)
    (local $performative i32) (local $body i32) (local $times i32)
    (local.set $performative (i32.load8_u offset=8 (local.get $message)))
    (local.set $body (i32.load offset=36 (local.get $message)))
    (call $open)
    (if (i32.eq (local.get $performative) (i32.const 15 (; query-ref ;)))
      (then
        (call $reply (i32.const 7 (; inform ;)) (i32.const 4340) (i32.const 24) (i32.const 3072) (i32.const 144)
          (i32.const 2048))))
    (if (i32.eq (local.get $performative) (i32.const 7 (; inform ;)))
      (then
        (call $enter (local.get $body))
        (local.set $times (i32.load8_u offset=9 (local.get $body)))
        (if (local.get $times) (then (call $pass_on (local.get $body) (local.get $times))))
        (call $set (i32.const 1100) (i32.const 5) (i32.const 3072) (i32.const 144) (i32.const 2048))
        (if (i32.load8_u (i32.const 2048)) (then (unreachable)))))
    (global.set $next (i32.const 8192))
    (i32.const 1024)))
