// Keeps notes in the directory /data, looks at the clocks, and says what it did. Where anything is
// not as it should be, it says so and ends with exit code 1.

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define A "/data/a.txt"
#define B "/data/b.txt"
#define DRAFT "/data/draft.txt"

// What is expected of the calls: a name for each, because "No such file" alone helps nobody.
static void expect(int holds, const char *what) {
    if (holds) return;
    perror(what);
    exit(1);
}

static void put(const char *path, const char *mode, const char *text) {
    FILE *file = fopen(path, mode);
    expect(file && fputs(text, file) >= 0 && fclose(file) == 0, path);
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void list(const char *path) {
    char *names[8];
    size_t count = 0;
    DIR *directory = opendir(path);
    expect(directory != NULL, "opendir");
    for (struct dirent *entry; (entry = readdir(directory));) {
        if (entry->d_name[0] == '.') continue;
        expect(count < 8, "more files than were written");
        names[count++] = strdup(entry->d_name);
    }
    closedir(directory);
    qsort(names, count, sizeof *names, by_name);
    printf("listed");
    for (size_t i = 0; i < count; i++) {
        printf(" %s", names[i]);
        free(names[i]);
    }
    printf("\n");
}

static double now(clockid_t clock) {
    struct timespec time;
    expect(clock_gettime(clock, &time) == 0, "clock_gettime");
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

int main(void) {
    put(DRAFT, "w", "Hello, WASM!");
    puts("wrote 12 bytes");
    put(DRAFT, "a", " Goodbye.");
    puts("appended 9 bytes");

    expect(rename(DRAFT, A) == 0, "rename");
    put(B, "w", "");
    list("/data");

    char text[64] = "";
    FILE *file = fopen(A, "r");
    expect(file && fgets(text, sizeof text, file) && fclose(file) == 0, "read");
    printf("read %s\n", text);

    struct stat stats;
    expect(stat(A, &stats) == 0, "stat");
    double age_s = now(CLOCK_REALTIME) - (double)stats.st_mtim.tv_sec;
    expect(-60 < age_s && age_s < 60, "a file's time is not the clock's");
    printf("a.txt has %lld bytes, changed just now\n", (long long)stats.st_size);

    expect(unlink(A) == 0 && unlink(B) == 0, "unlink");
    expect(access(A, F_OK) != 0, "a deleted file is there");
    list("/data");

    double start = now(CLOCK_MONOTONIC);
    expect(nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL) == 0, "nanosleep");
    expect(now(CLOCK_MONOTONIC) - start >= 0.005, "woken too early");
    puts("slept");
}
