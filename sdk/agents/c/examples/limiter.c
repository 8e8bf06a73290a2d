// Says who may go on: a token bucket per key. A `request` whose content is a key is answered with `inform` and what is
// left, or with `refuse` and when to come back. Configuration: {"per_minute": 60, "burst": 10}.

#include <string.h>

#include "paddock.h"

typedef struct {
  double tokens;
  double at_ms;
} bucket;

void exports_paddock_agent_handler_describe(paddock_description *ret) {
  paddock_describe(ret, "agent-name", "Says who may go on, a token bucket per key.", "limit");
}

bool exports_paddock_agent_handler_init(paddock_start *start, paddock_failure *failure) {
  (void)start, (void)failure;
  return true;
}

static bool decide(paddock_message *message, paddock_failure *failure) {
  if (message->performative != PADDOCK_AGENT_TYPES_PERFORMATIVE_REQUEST) {
    return paddock_invalid(failure, "send a request");
  }
  char key[128] = "key/";
  size_t length = message->content.body.len;
  if (length == 0 || length >= sizeof key - 5) return paddock_invalid(failure, "the content is a key of 1 to 122 bytes");
  memcpy(key + 4, message->content.body.ptr, length);

  double per_ms = paddock_config("per_minute", 60) / 60000, burst = paddock_config("burst", 10);
  if (!(per_ms > 0) || !(burst >= 1)) return paddock_invalid(failure, "the configuration allows nothing");
  double now = (double)paddock_agent_time_now();
  bucket own = {.tokens = burst, .at_ms = now};
  if (paddock_load(key, &own, sizeof own)) {
    own.tokens += (now - own.at_ms) * per_ms;
    if (own.tokens > burst) own.tokens = burst;
    own.at_ms = now;
  }
  bool allowed = own.tokens >= 1;
  if (allowed) own.tokens -= 1;
  if (!paddock_save(failure, key, &own, sizeof own)) return false;
  if (allowed) {
    return paddock_reply(failure, PADDOCK_AGENT_TYPES_PERFORMATIVE_INFORM, "{\"left\": %d}", (int)own.tokens);
  }
  int wait_ms = (int)((1 - own.tokens) / per_ms) + 1;
  return paddock_reply(failure, PADDOCK_AGENT_TYPES_PERFORMATIVE_REFUSE, "{\"retry_after_ms\": %d}", wait_ms);
}

bool exports_paddock_agent_handler_handle(paddock_message *message, paddock_failure *failure) {
  bool went_well = decide(message, failure);
  exports_paddock_agent_handler_message_free(message);
  return went_well;
}
