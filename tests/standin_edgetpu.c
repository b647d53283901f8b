/* Stands in for libedgetpu: a TFLite delegate that takes over "edgetpu-custom-op" and copies its input to its output.
 *
 * The file that $STANDIN_EDGETPU names says how it behaves, and is read again at each load and each invoke:
 *   works | no-device | crash-load | hang-load | refuse-model | wrong | fail-invoke N | crash-invoke N | hang-invoke N
 * with N the first invoke since the load, counted from 1, that goes so.
 *
 * Of TensorFlow Lite's C API (tensorflow/lite/core/c/common.h) it declares what it touches; what it does not touch is
 * there by its size alone.
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OK = 0, ERROR = 1 };

typedef struct { int size; int data[]; } IntArray;
typedef struct {
  int type; void *data; IntArray *dims; float scale; int zero_point; int allocation; size_t bytes;
  const void *mapped; const char *name; void *delegate; int handle; bool stale, variable;
  int quantization; void *parameters; void *sparsity; const void *signature;
} Tensor;
typedef struct { IntArray *inputs, *outputs, *intermediates, *temporaries; void *user_data; } Node;
struct Context;
struct Delegate;
typedef struct {
  void *(*init)(struct Context *, const char *, size_t);
  void (*release)(struct Context *, void *);
  int (*prepare)(struct Context *, Node *);
  int (*invoke)(struct Context *, Node *);
  const char *(*profiling)(const struct Context *, const Node *);
  int32_t builtin_code; const char *custom_name; int version;
  void *external; void *async; uint64_t in_place;
} Registration;
typedef struct Context {
  size_t count;
  int (*execution_plan)(struct Context *, IntArray **);
  Tensor *tensors;
  void *implementation;
  int (*resize)(struct Context *, Tensor *, IntArray *);
  void (*report)(struct Context *, const char *, ...);
  int (*add)(struct Context *, int, int *);
  int (*node)(struct Context *, int, Node **, Registration **);
  int (*replace)(struct Context *, Registration, const IntArray *, struct Delegate *);
} Context;
typedef struct Delegate {
  void *data;
  int (*prepare)(Context *, struct Delegate *);
  void *from_handle, *to_handle, *free_handle;
  int64_t flags;
  void *builder;
} Delegate;

static char mode[32];
static int from, invokes;

static void look(void) {
  FILE *file = fopen(getenv("STANDIN_EDGETPU"), "r");
  mode[0] = 0;
  from = 1;
  if (file != NULL) {
    if (fscanf(file, "%31s %d", mode, &from) < 1) mode[0] = 0;
    fclose(file);
  }
}

static bool is(const char *name) { return strcmp(mode, name) == 0; }

/* Where there is a named pipe beside the file, NAME.hangs, it tells whoever reads it that this is the moment. */
static void hang(void) {
  char name[4096];
  snprintf(name, sizeof name, "%s.hangs", getenv("STANDIN_EDGETPU"));
  open(name, O_WRONLY);
  for (;;) pause();
}

static void crash(void) { *(volatile int *)16 = 0; }

static int prepare(Context *context, Node *node) { return OK; }

static int invoke(Context *context, Node *node) {
  Tensor *taken = &context->tensors[node->inputs->data[0]], *given = &context->tensors[node->outputs->data[0]];
  bool due;
  look();
  due = ++invokes >= from;
  if (is("crash-invoke") && due) crash();
  if (is("hang-invoke") && due) hang();
  if (is("fail-invoke") && due) return ERROR;
  memcpy(given->data, taken->data, taken->bytes);
  if (is("wrong")) memset(given->data, 100, given->bytes);
  return OK;
}

static int take_over(Context *context, Delegate *delegate) {
  Registration kernel = {.prepare = prepare, .invoke = invoke, .custom_name = "standin", .version = 1};
  IntArray *plan, *taken;
  int i, status;
  if (is("refuse-model")) return ERROR;
  if (context->execution_plan(context, &plan) != OK) return ERROR;
  taken = malloc(sizeof(IntArray) + plan->size * sizeof(int));
  taken->size = 0;
  for (i = 0; i < plan->size; i++) {
    Node *node;
    Registration *registration;
    if (context->node(context, plan->data[i], &node, &registration) != OK) return ERROR;
    if (registration->custom_name != NULL && strcmp(registration->custom_name, "edgetpu-custom-op") == 0)
      taken->data[taken->size++] = plan->data[i];
  }
  status = context->replace(context, kernel, taken, delegate);
  free(taken);
  return status;
}

Delegate *tflite_plugin_create_delegate(char **keys, char **values, size_t options, void (*report)(const char *)) {
  Delegate *made;
  look();
  if (is("crash-load")) crash();
  if (is("hang-load")) hang();
  if (is("no-device")) return NULL;
  printf("the library prints what it likes\n");
  fflush(stdout);
  made = calloc(1, sizeof *made);
  made->prepare = take_over;
  made->flags = 1; /* AllowDynamicTensors: else the unknown operator would be prepared first, and fail */
  return made;
}

void tflite_plugin_destroy_delegate(Delegate *delegate) { free(delegate); }
