// A thin layer over Paddock's world (agent.h, made from wit/agent.wit by wit-bindgen): texts, state, failures.
#ifndef PADDOCK_H
#define PADDOCK_H

#include "agent.h"

typedef exports_paddock_agent_handler_message_t paddock_message;
typedef exports_paddock_agent_handler_start_t paddock_start;
typedef exports_paddock_agent_handler_failure_t paddock_failure;
typedef exports_paddock_agent_handler_description_t paddock_description;
typedef paddock_agent_types_performative_t paddock_performative;

// A text of the program, without copying it.
agent_string_t paddock_text(const char *text);

// Says what the agent is; `capability` may be NULL.
void paddock_describe(paddock_description *ret, const char *name, const char *description, const char *capability);

// Ends a handler: the message is at fault, or it may go well later. Both return false, as a failed handler does.
bool paddock_invalid(paddock_failure *failure, const char *why);
bool paddock_retryable(paddock_failure *failure, const char *why);

// Answers the message that is being handled with JSON, written like printf does. At most 4 KiB.
bool paddock_reply(paddock_failure *failure, paddock_performative performative, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

// Reads what is remembered under a key, if it has exactly this size; remembers it.
bool paddock_load(const char *key, void *into, size_t size);
bool paddock_save(paddock_failure *failure, const char *key, const void *value, size_t size);

// A number of the agent's configuration, which is one flat JSON object.
double paddock_config(const char *name, double otherwise);

// A line for `paddock agents logs`, written like printf does. `printf` and `fprintf(stderr, …)` go there, too.
void paddock_log(paddock_agent_log_level_t level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
