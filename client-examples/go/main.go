package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
)

// The exit codes of sidekey's own commands; for other answers 69: unavailable.
var exitCodes = map[int]int{400: 64, 401: 77, 403: 77, 404: 1, 409: 1, 410: 77, 502: 77}

func main() {
	for _, reference := range os.Args[1:] {
		show(reference)
	}
	for lines := bufio.NewScanner(os.Stdin); len(os.Args) == 1 && lines.Scan(); {
		show(lines.Text())
	}
}

func show(reference string) {
	value, err := Secret(context.Background(), reference)
	if err == nil {
		os.Stdout.Write(value)
		return
	}
	problem := new(Problem)
	if !errors.As(err, &problem) {
		err = fmt.Errorf("no answer from %s: %w", addr, err)
	}
	fmt.Fprintln(os.Stderr, "sidekey:", err)
	os.Exit(cmp.Or(exitCodes[problem.Status], 69))
}
