/*
 * pattern DEVICE THREADS BLOCKS: writes blocks that can be checked to DEVICE, for ever, past the page cache, and reads them again.
 *
 * Each thread has BLOCKS blocks of 4 KiB of its own. A block holds who wrote it, its number and the number of the write in its
 * first bytes, then bytes that follow from these, then a checksum of all. So whatever a block holds is known to be one write as a
 * whole, or torn; and which write is there is compared with the one that was acknowledged last.
 *
 * Says on standard output:
 *   @@SLOW <milliseconds> <read|write>           an I/O that took more than 250 ms
 *   @@SUM <writes> <reads> <errors> <bad> <oldest>   every 250 ms; oldest: milliseconds the slowest I/O under way has taken
 *   @@ERROR <read|write> <block> <errno>         a failed I/O; it is repeated
 *   @@BADBLOCK <text>                            a block that is not what was acknowledged
 *   @@VERIFIED <blocks> <bad>                    every block was read, with no writer at work; after each SIGUSR1
 * Ends after SIGTERM.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SIZE 4096
#define SLOW_MS 250
#define PARALLEL_MAX 16

struct worker {
  pthread_t thread;
  uint32_t number;
  uint64_t write;
  uint64_t *acknowledged;     /* per block the write that was acknowledged last; 0: none */
  _Atomic uint64_t since;     /* when the I/O under way began; 0: none */
  unsigned char *out, *in, *want;
};

static int device;
static uint32_t threads, blocks;
static struct worker workers[PARALLEL_MAX];
static _Atomic uint64_t writes, reads, errors, bad;
static _Atomic int ending, verifying, resting;

static uint64_t now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static uint64_t mix(uint64_t x) {
  x ^= x >> 33; x *= 0xff51afd7ed558ccdULL; x ^= x >> 33; x *= 0xc4ceb9fe1a85ec53ULL; x ^= x >> 33;
  return x;
}

/* What write `write` of a worker puts into a block; zeros before the first one. */
static void content(unsigned char *to, uint32_t worker, uint32_t block, uint64_t write) {
  uint64_t *word = (uint64_t *)to, sum = 0;
  size_t i, last = SIZE / 8 - 1;
  if (write == 0) { memset(to, 0, SIZE); return; }
  word[0] = 0x6e7265747461702eULL;
  word[1] = ((uint64_t)worker << 32) | block;
  word[2] = write;
  for (i = 3; i < last; i++) word[i] = mix(word[1] + write * 1048583 + i);
  for (i = 0; i < last; i++) sum = mix(sum ^ word[i]);
  word[last] = sum;
}

/* Reads or writes one block until it succeeds; every failure is counted. */
static void transfer(struct worker *w, int isWrite, uint32_t block, unsigned char *data) {
  off_t at = ((off_t)w->number * blocks + block) * SIZE;
  for (;;) {
    uint64_t start = now_ms(), took;
    ssize_t n;
    w->since = start;
    n = isWrite ? pwrite(device, data, SIZE, at) : pread(device, data, SIZE, at);
    took = now_ms() - start;
    w->since = 0;
    if (took > SLOW_MS) printf("@@SLOW %llu %s\n", (unsigned long long)took, isWrite ? "write" : "read");
    if (n == SIZE) break;
    errors++;
    printf("@@ERROR %s %u %d\n", isWrite ? "write" : "read", block, n < 0 ? errno : 0);
    if (ending) return;
    usleep(100000);
  }
  if (isWrite) writes++; else reads++;
}

static void check(struct worker *w, uint32_t block) {
  const uint64_t *word = (const uint64_t *)w->in;
  transfer(w, 0, block, w->in);
  content(w->want, w->number, block, w->acknowledged[block]);
  if (memcmp(w->in, w->want, SIZE) == 0) return;
  bad++;
  content(w->want, (uint32_t)(word[1] >> 32), (uint32_t)word[1], word[2]);
  printf("@@BADBLOCK worker %u block %u: write %llu was acknowledged, %s%llu of worker %u block %u is there\n", w->number, block,
         (unsigned long long)w->acknowledged[block], memcmp(w->in, w->want, SIZE) == 0 ? "write " : "torn ",
         (unsigned long long)word[2], (unsigned)(word[1] >> 32), (unsigned)word[1]);
}

static void *work(void *argument) {
  struct worker *w = argument;
  while (!ending) {
    uint32_t block;
    if (verifying) {
      resting++;
      while (verifying && !ending) usleep(1000);
      resting--;
      continue;
    }
    w->write++;
    /* Each block several times in a row: a write that lands late is on top of a newer one. */
    block = (uint32_t)(w->write / 3 % blocks);
    content(w->out, w->number, block, w->write);
    transfer(w, 1, block, w->out);
    if (ending) break;
    w->acknowledged[block] = w->write;
    check(w, w->write % 2 == 0 ? block : (uint32_t)(mix(w->write) % blocks));
  }
  return NULL;
}

static void *all_of(void *argument) {
  struct worker *w = argument;
  for (uint32_t block = 0; block < blocks && !ending; block++) check(w, block);
  return NULL;
}

static void verify(void) {
  pthread_t readers[PARALLEL_MAX];
  verifying = 1;
  while (resting < (int)threads && !ending) usleep(1000);
  for (uint32_t i = 0; i < threads; i++) pthread_create(&readers[i], NULL, all_of, &workers[i]);
  for (uint32_t i = 0; i < threads; i++) pthread_join(readers[i], NULL);
  printf("@@VERIFIED %u %llu\n", threads * blocks, (unsigned long long)bad);
  verifying = 0;
  while (resting > 0 && !ending) usleep(1000);
}

static void *tell(void *unused) {
  (void)unused;
  while (!ending) {
    uint64_t now = now_ms(), oldest = 0;
    for (uint32_t i = 0; i < threads; i++) {
      uint64_t since = workers[i].since;
      if (since != 0 && now > since && now - since > oldest) oldest = now - since;
    }
    printf("@@SUM %llu %llu %llu %llu %llu\n", (unsigned long long)writes, (unsigned long long)reads,
           (unsigned long long)errors, (unsigned long long)bad, (unsigned long long)oldest);
    usleep(250000);
  }
  return NULL;
}

int main(int argc, char **argv) {
  sigset_t signals;
  pthread_t teller;
  int signal;
  if (argc != 4) return 2;
  threads = (uint32_t)atoi(argv[2]);
  blocks = (uint32_t)atoi(argv[3]);
  if (threads < 1 || threads > PARALLEL_MAX || blocks < 1) return 2;
  device = open(argv[1], O_RDWR | O_DIRECT);
  if (device < 0) { perror(argv[1]); return 1; }
  setvbuf(stdout, NULL, _IOLBF, 0);
  sigemptyset(&signals);
  sigaddset(&signals, SIGUSR1);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, NULL);
  for (uint32_t i = 0; i < threads; i++) {
    struct worker *w = &workers[i];
    w->number = i;
    w->acknowledged = calloc(blocks, sizeof(uint64_t));
    if (w->acknowledged == NULL || posix_memalign((void **)&w->out, SIZE, SIZE) != 0 ||
        posix_memalign((void **)&w->in, SIZE, SIZE) != 0 || posix_memalign((void **)&w->want, SIZE, SIZE) != 0) return 1;
    pthread_create(&w->thread, NULL, work, w);
  }
  pthread_create(&teller, NULL, tell, NULL);
  while (sigwait(&signals, &signal) == 0 && signal == SIGUSR1) verify();
  ending = 1;
  for (uint32_t i = 0; i < threads; i++) pthread_join(workers[i].thread, NULL);
  pthread_join(teller, NULL);
  return bad == 0 ? 0 : 1;
}
