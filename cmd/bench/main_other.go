//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "bench: it pins processes to processors and reads /proc, and so needs Linux")
	os.Exit(1)
}
