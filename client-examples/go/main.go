package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
)

// The exit codes of sidekey's own commands; for other answers 69: unavailable.
var exitCodes = map[int]int{400: 64, 401: 77, 403: 77, 404: 1, 409: 1, 410: 77, 502: 77}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	if len(os.Args) > 1 {
		lines = bufio.NewScanner(strings.NewReader(strings.Join(os.Args[1:], "\n")))
	}
	for lines.Scan() {
		value, err := Secret(context.Background(), lines.Text())
		if err != nil {
			fmt.Fprintln(os.Stderr, "sidekey:", err)
			if problem := new(Problem); errors.As(err, &problem) && exitCodes[problem.Status] != 0 {
				os.Exit(exitCodes[problem.Status])
			}
			os.Exit(69)
		}
		os.Stdout.Write(value)
	}
}
