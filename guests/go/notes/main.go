// Command notes keeps notes in the directory /data, looks at the clocks, and says what it did. Where
// anything is not as it should be, it says so and ends with exit code 1.
package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"
	"time"
)

const (
	a     = "/data/a.txt"
	b     = "/data/b.txt"
	draft = "/data/draft.txt"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("notes: ")

	must(os.WriteFile(draft, []byte("Hello, WASM!"), 0o644))
	fmt.Println("wrote 12 bytes")
	file, err := os.OpenFile(draft, os.O_WRONLY|os.O_APPEND, 0)
	must(err)
	_, err = file.WriteString(" Goodbye.")
	must(err)
	must(file.Close())
	fmt.Println("appended 9 bytes")

	must(os.Rename(draft, a))
	must(os.WriteFile(b, nil, 0o644))
	list()

	text, err := os.ReadFile(a)
	must(err)
	fmt.Printf("read %s\n", text)

	info, err := os.Stat(a)
	must(err)
	if age := time.Since(info.ModTime()); age.Abs() > time.Minute {
		log.Fatalf("a file's time is not the clock's: it is %v old", age)
	}
	fmt.Printf("a.txt has %d bytes, changed just now\n", info.Size())

	must(os.Remove(a))
	must(os.Remove(b))
	if _, err := os.Stat(a); !errors.Is(err, fs.ErrNotExist) {
		log.Fatalf("a deleted file is there: %v", err)
	}
	list()

	start := time.Now()
	time.Sleep(5 * time.Millisecond)
	if slept := time.Since(start); slept < 5*time.Millisecond {
		log.Fatalf("woken after %v", slept)
	}
	fmt.Println("slept")
}

// list prints the names in /data, which ReadDir sorts.
func list() {
	entries, err := os.ReadDir("/data")
	must(err)
	fmt.Print("listed")
	for _, entry := range entries {
		fmt.Print(" ", entry.Name())
	}
	fmt.Println()
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
