// Command hello answers every connection with one HTTP response.
//
// A guest of WASI preview 1 opens no sockets of its own: the host hands it a listener as an open
// descriptor, as systemd does with a socket unit. Descriptors 0 to 2 are stdio; the directories
// that a guest was given come next (this one asks for none), and then its listeners. For Go they
// must be non-blocking from the start: its runtime has one thread, which a blocking call would stop.
//
// http.Serve(listener, handler) of net/http works as well; it makes the module three times as large.
package main

import (
	"bufio"
	"fmt"
	"io"
	"log"
	"net"
	"os"
)

const listenerFD = 3

const response = "HTTP/1.1 200 OK\r\n" +
	"Content-Type: text/plain\r\n" +
	"Content-Length: 12\r\n" +
	"Connection: close\r\n" +
	"\r\n" +
	"Hello, WASM!"

// Longer request heads are cut off, so that no client can fill this guest's memory.
const headBytesMax = 8 * 1024

func main() {
	listener, err := net.FileListener(os.NewFile(listenerFD, "listener"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("hello: listening")
	for {
		connection, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go func() {
			defer connection.Close()
			if err := answer(connection); err != nil {
				log.Print(err)
			}
		}()
	}
}

// answer reads the request's head, up to its empty line, and answers.
func answer(connection net.Conn) error {
	head := bufio.NewScanner(io.LimitReader(connection, headBytesMax))
	for head.Scan() && head.Text() != "" {
	}
	if err := head.Err(); err != nil {
		return err
	}
	_, err := io.WriteString(connection, response)
	return err
}
