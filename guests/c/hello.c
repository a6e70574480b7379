// Answers every connection with one HTTP response.
//
// A guest of WASI preview 1 opens no sockets of its own: the host hands it a listener as an open
// descriptor, as systemd does with a socket unit. Descriptors 0 to 2 are stdio; the directories
// that a guest was given come next (this one asks for none), and then its listeners.

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static const int LISTENER = 3;

static const char RESPONSE[] =
    "HTTP/1.1 200 OK\r\n"
    "Content-Type: text/plain\r\n"
    "Content-Length: 12\r\n"
    "Connection: close\r\n"
    "\r\n"
    "Hello, WASM!";

// Reads the request's head, up to its empty line, and answers; false, with errno, if it cannot.
static int answer(int connection) {
    FILE *request = fdopen(connection, "r");
    if (request == NULL) return 0;
    char line[1024];
    while (fgets(line, sizeof line, request) && strcmp(line, "\r\n") != 0) {
    }
    int answered = !ferror(request) && dprintf(connection, "%s", RESPONSE) >= 0;
    return fclose(request) == 0 && answered;
}

int main(void) {
    puts("hello: listening");
    fflush(stdout);
    for (;;) {
        int connection = accept(LISTENER, NULL, NULL);
        if (connection < 0 || !answer(connection)) perror("hello");
    }
}
