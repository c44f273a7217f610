/* A disk under the store that fails or is slow: loaded before libc, for files whose name begins with `wakeful.db`.
   What it does stands in the file that FAULT_DISK names: "eio" fails every sync, a number makes it take so many
   milliseconds, anything else leaves it alone. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int is_of_store(int fd) {
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  const char *name = strrchr(path, '/');
  return name && strncmp(name + 1, "wakeful.db", 10) == 0;
}

static int fails(int fd) {
  const char *path = getenv("FAULT_DISK");
  if (!path || !is_of_store(fd)) return 0;
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  char text[32] = {0};
  ssize_t length = read(file, text, sizeof text - 1);
  close(file);
  if (length <= 0) return 0;
  if (strncmp(text, "eio", 3) == 0) return 1;
  long ms = atol(text);
  struct timespec pause = {ms / 1000, (ms % 1000) * 1000000};
  if (ms > 0) nanosleep(&pause, NULL);
  return 0;
}

int fsync(int fd) {
  int (*own)(int) = dlsym(RTLD_NEXT, "fsync");
  if (fails(fd)) { errno = EIO; return -1; }
  return own(fd);
}

int fdatasync(int fd) {
  int (*own)(int) = dlsym(RTLD_NEXT, "fdatasync");
  if (fails(fd)) { errno = EIO; return -1; }
  return own(fd);
}
