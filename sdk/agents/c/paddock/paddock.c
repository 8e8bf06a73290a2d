#include "paddock.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Referred to by agent.c; `paddock agents build` adds the types that it stands for.
void __component_type_object_force_link_agent(void) {}

agent_string_t paddock_text(const char *text) {
  agent_string_t string;
  agent_string_set(&string, text);
  return string;
}

void paddock_describe(paddock_description *ret, const char *name, const char *description, const char *capability) {
  memset(ret, 0, sizeof *ret);
  ret->name.is_some = name != NULL;
  if (name != NULL) agent_string_dup(&ret->name.val, name);
  agent_string_dup(&ret->description, description);
  if (capability != NULL) {
    ret->capabilities.ptr = malloc(sizeof *ret->capabilities.ptr);
    ret->capabilities.len = 1;
    agent_string_dup(ret->capabilities.ptr, capability);
  }
}

static bool failed(paddock_failure *failure, uint8_t tag, const char *why, size_t len) {
  failure->tag = tag;
  agent_string_dup_n(&failure->val.invalid, why, len);
  return false;
}

bool paddock_invalid(paddock_failure *failure, const char *why) {
  return failed(failure, PADDOCK_AGENT_TYPES_FAILURE_INVALID, why, strlen(why));
}

bool paddock_retryable(paddock_failure *failure, const char *why) {
  return failed(failure, PADDOCK_AGENT_TYPES_FAILURE_RETRYABLE, why, strlen(why));
}

static bool refused(paddock_failure *failure, agent_string_t *error) {
  failed(failure, PADDOCK_AGENT_TYPES_FAILURE_INVALID, (const char *)error->ptr, error->len);
  agent_string_free(error);
  return false;
}

bool paddock_reply(paddock_failure *failure, paddock_performative performative, const char *format, ...) {
  char json[4096];
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(json, sizeof json, format, arguments);
  va_end(arguments);
  if (length < 0 || (size_t)length >= sizeof json) return paddock_invalid(failure, "the answer is too long");
  paddock_agent_types_content_t content = {
      .media_type = paddock_text("application/json"),
      .body = {.ptr = (uint8_t *)json, .len = (size_t)length},
  };
  agent_string_t id, error;
  if (!paddock_agent_messaging_reply(performative, &content, &id, &error)) return refused(failure, &error);
  agent_string_free(&id);
  return true;
}

bool paddock_load(const char *key, void *into, size_t size) {
  agent_string_t name = paddock_text(key);
  agent_list_u8_t value;
  if (!paddock_agent_state_get(&name, &value)) return false;
  bool fits = value.len == size;
  if (fits) memcpy(into, value.ptr, size);
  agent_list_u8_free(&value);
  return fits;
}

bool paddock_save(paddock_failure *failure, const char *key, const void *value, size_t size) {
  agent_string_t name = paddock_text(key), error;
  agent_list_u8_t bytes = {.ptr = (uint8_t *)value, .len = size};
  if (!paddock_agent_state_set(&name, &bytes, &error)) return refused(failure, &error);
  return true;
}

double paddock_config(const char *name, double otherwise) {
  agent_string_t key = paddock_text("config");
  agent_list_u8_t value;
  if (!paddock_agent_state_get(&key, &value)) return otherwise;
  char *json = malloc(value.len + 1), quoted[128];
  memcpy(json, value.ptr, value.len);
  json[value.len] = '\0';
  agent_list_u8_free(&value);
  snprintf(quoted, sizeof quoted, "\"%s\"", name);
  char *found = strstr(json, quoted);
  if (found != NULL) {
    char *number = found + strlen(quoted), *end;
    number += strspn(number, ": \t\r\n");
    double parsed = strtod(number, &end);
    if (end != number) otherwise = parsed;
  }
  free(json);
  return otherwise;
}

static void log_line(paddock_agent_log_level_t level, const char *text, size_t len) {
  agent_string_t line = {.ptr = (uint8_t *)text, .len = len};
  paddock_agent_log_write(level, &line);
}

void paddock_log(paddock_agent_log_level_t level, const char *format, ...) {
  char line[1024];
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  if (length > 0) log_line(level, line, (size_t)length < sizeof line ? (size_t)length : sizeof line - 1);
}

// What libc would ask a system for. There is none: what is written goes to the log, the rest is refused.
typedef struct {
  const uint8_t *ptr;
  size_t len;
} piece;

enum { REFUSED = 8 /* EBADF */, NOT_THERE = 52 /* ENOSYS */ };

int32_t stub_write(int32_t fd, int32_t pieces, int32_t count, int32_t written)
    __asm__("__imported_wasi_snapshot_preview1_fd_write");
// A line goes to the log when it is whole, however many writes it comes in.
static char written_lines[2][1024];
static size_t written_lengths[2];

static void write_char(int stream, char next) {
  char *line = written_lines[stream];
  size_t *length = &written_lengths[stream];
  if (next != '\n') line[(*length)++] = next;
  if ((next == '\n' && *length > 0) || *length == sizeof written_lines[stream]) {
    log_line(stream == 1 ? PADDOCK_AGENT_LOG_LEVEL_WARN : PADDOCK_AGENT_LOG_LEVEL_INFO, line, *length);
    *length = 0;
  }
}

int32_t stub_write(int32_t fd, int32_t pieces, int32_t count, int32_t written) {
  if (fd != 1 && fd != 2) return REFUSED;
  size_t total = 0;
  for (int32_t index = 0; index < count; index++) {
    const piece *part = (const piece *)pieces + index;
    for (size_t at = 0; at < part->len; at++) write_char(fd - 1, (char)part->ptr[at]);
    total += part->len;
  }
  *(size_t *)written = total;
  return 0;
}

int32_t stub_close(int32_t fd) __asm__("__imported_wasi_snapshot_preview1_fd_close");
int32_t stub_close(int32_t fd) {
  (void)fd;
  return REFUSED;
}

int32_t stub_seek(int32_t fd, int64_t offset, int32_t whence, int32_t ret)
    __asm__("__imported_wasi_snapshot_preview1_fd_seek");
int32_t stub_seek(int32_t fd, int64_t offset, int32_t whence, int32_t ret) {
  (void)fd, (void)offset, (void)whence, (void)ret;
  return REFUSED;
}

int32_t stub_fdstat(int32_t fd, int32_t ret) __asm__("__imported_wasi_snapshot_preview1_fd_fdstat_get");
int32_t stub_fdstat(int32_t fd, int32_t ret) {
  (void)fd, (void)ret;
  return REFUSED;
}

int32_t stub_clock(int32_t id, int64_t precision, int32_t ret)
    __asm__("__imported_wasi_snapshot_preview1_clock_time_get");
int32_t stub_clock(int32_t id, int64_t precision, int32_t ret) {
  (void)id, (void)precision;
  *(uint64_t *)ret = paddock_agent_time_now() * 1000000;
  return 0;
}

int32_t stub_random(int32_t into, int32_t len) __asm__("__imported_wasi_snapshot_preview1_random_get");
int32_t stub_random(int32_t into, int32_t len) {
  agent_list_u8_t bytes;
  paddock_agent_random_bytes((uint32_t)len, &bytes);
  memcpy((void *)into, bytes.ptr, bytes.len);
  agent_list_u8_free(&bytes);
  return 0;
}

int32_t stub_environ_sizes(int32_t count, int32_t size)
    __asm__("__imported_wasi_snapshot_preview1_environ_sizes_get");
int32_t stub_environ_sizes(int32_t count, int32_t size) {
  *(size_t *)count = 0;
  *(size_t *)size = 0;
  return 0;
}

int32_t stub_environ(int32_t environ, int32_t buffer) __asm__("__imported_wasi_snapshot_preview1_environ_get");
int32_t stub_environ(int32_t environ, int32_t buffer) {
  (void)environ, (void)buffer;
  return NOT_THERE;
}

_Noreturn void stub_exit(int32_t code) __asm__("__imported_wasi_snapshot_preview1_proc_exit");
_Noreturn void stub_exit(int32_t code) {
  (void)code;
  __builtin_trap();
}
