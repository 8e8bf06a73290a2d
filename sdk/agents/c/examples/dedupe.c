// Lets what it has not seen lately pass: an `inform` whose content is new is published under the topic `unique`, one that
// is the same as any of the last 1,000 is only counted. A `query-ref` is answered with how many were which.

#include <stdio.h>
#include <string.h>

#include "paddock.h"

enum { SEEN_MAX = 1000 };

typedef struct {
  uint64_t passed, repeated;
  uint32_t next;
  uint64_t seen[SEEN_MAX];
} memory;

static memory own;

void exports_paddock_agent_handler_describe(paddock_description *ret) {
  paddock_describe(ret, "agent-name", "Passes on what it has not seen lately.", "dedupe");
}

bool exports_paddock_agent_handler_init(paddock_start *start, paddock_failure *failure) {
  (void)failure;
  if (!paddock_load("memory", &own, sizeof own)) memset(&own, 0, sizeof own);
  if (start->is_first) printf("%s remembers %d contents\n", "dedupe", SEEN_MAX);
  return true;
}

// FNV-1a over the content and its media type.
static uint64_t digest(const paddock_agent_types_content_t *content) {
  uint64_t hash = 0xcbf29ce484222325;
  for (size_t index = 0; index < content->media_type.len; index++) hash = (hash ^ content->media_type.ptr[index]) * 0x100000001b3;
  for (size_t index = 0; index < content->body.len; index++) hash = (hash ^ content->body.ptr[index]) * 0x100000001b3;
  return hash == 0 ? 1 : hash;
}

static bool pass(paddock_message *message, paddock_failure *failure) {
  agent_string_t topic = paddock_text("topic:unique");
  paddock_agent_types_draft_t draft = {
      .performative = message->performative,
      .receivers = {.ptr = &topic, .len = 1},
      .content = message->content,
      .conversation = message->conversation,
  };
  agent_string_t id, error;
  if (!paddock_agent_messaging_send(&draft, &id, &error)) {
    agent_string_free(&error);
    return paddock_retryable(failure, "it could not be passed on");
  }
  agent_string_free(&id);
  return true;
}

static bool look(paddock_message *message, paddock_failure *failure) {
  if (message->performative == PADDOCK_AGENT_TYPES_PERFORMATIVE_QUERY_REF) {
    return paddock_reply(failure, PADDOCK_AGENT_TYPES_PERFORMATIVE_INFORM, "{\"passed\": %llu, \"repeated\": %llu}",
                         (unsigned long long)own.passed, (unsigned long long)own.repeated);
  }
  if (message->performative != PADDOCK_AGENT_TYPES_PERFORMATIVE_INFORM) {
    return paddock_invalid(failure, "send inform or query-ref");
  }
  uint64_t hash = digest(&message->content);
  bool seen = false;
  for (size_t index = 0; index < SEEN_MAX && !seen; index++) seen = own.seen[index] == hash;
  if (seen) {
    own.repeated++;
  } else {
    own.seen[own.next] = hash;
    own.next = (own.next + 1) % SEEN_MAX;
    own.passed++;
    if (!pass(message, failure)) return false;
  }
  return paddock_save(failure, "memory", &own, sizeof own);
}

bool exports_paddock_agent_handler_handle(paddock_message *message, paddock_failure *failure) {
  bool went_well = look(message, failure);
  exports_paddock_agent_handler_message_free(message);
  return went_well;
}
