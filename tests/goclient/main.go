// Command goclient talks to an IstioCertificateService with the stack of Istio's own Go clients.
//
// Each verb prints one JSON object on standard output. An answer of the server, good or bad, is a result: the exit
// status is 0. A wrong flag, an unreadable file and the like go to standard error with exit status 2.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
)

var verbs = map[string]func(args []string) (any, error){
	"agent": agent,
	"load":  load,
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "goclient:", err)
		os.Exit(2)
	}
}

func run(args []string) error {
	if len(args) == 0 || verbs[args[0]] == nil {
		return errors.New("usage: goclient agent|load [flags]")
	}
	result, err := verbs[args[0]](args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}
