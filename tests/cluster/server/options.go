package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

// options are the command line, checked.
type options struct {
	directory     string
	port          int
	audit         bool
	certManager   bool
	crds          string
	exitWithStdin bool
	controllersOf string
}

func parseOptions(arguments []string) (options, error) {
	var parsed options
	flags := flag.NewFlagSet("cluster", flag.ContinueOnError)
	flags.StringVar(&parsed.directory, "directory", "", "where data, keys, logs and the kubeconfig live (required)")
	flags.IntVar(&parsed.port, "port", 0, "port of the API server on 127.0.0.1; 0 takes a free one")
	flags.BoolVar(&parsed.audit, "audit", false, "write one line per API call to DIRECTORY/audit.log")
	flags.BoolVar(&parsed.certManager, "cert-manager", false, "run the controllers of cert-manager too")
	flags.StringVar(&parsed.crds, "cert-manager-crds", besideExecutable("crds"), "folder with the CRDs of cert-manager")
	flags.StringVar(&parsed.controllersOf, "only-cert-manager", "", "run cert-manager's controllers only, for the cluster of this kubeconfig")
	flags.BoolVar(&parsed.exitWithStdin, "exit-with-stdin", false, "end when standard input does")
	if err := flags.Parse(arguments); err != nil {
		return options{}, err
	}
	return parsed.checked(flags)
}

func (o options) checked(flags *flag.FlagSet) (options, error) {
	var err error
	switch {
	case flags.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case o.directory == "":
		err = errors.New("-directory is required")
	case o.port < 0 || o.port > 65535:
		err = fmt.Errorf("-port %d is not a port", o.port)
	default:
		// Absolute, for the paths end up in a kubeconfig and in messages read elsewhere.
		o.directory, err = filepath.Abs(o.directory)
	}
	if err != nil {
		fmt.Fprintf(flags.Output(), "cluster: %v\n", err)
	}
	return o, err
}

func besideExecutable(name string) string {
	executable, err := os.Executable()
	if err != nil {
		return name
	}
	return filepath.Join(filepath.Dir(executable), name)
}
