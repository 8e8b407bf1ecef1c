package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// serveControllers runs cert-manager alone, against the API server of a kubeconfig, so that a test can stop it while
// that one goes on. It is ready once DIRECTORY/ready exists, and it is told to end like the whole cluster.
func serveControllers(options options) error {
	ctx, cancel := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	defer cancel()
	if options.exitWithStdin {
		go func() {
			readToEnd(os.Stdin)
			cancel()
		}()
	}
	ready := options.directory + "/ready"
	if err := os.MkdirAll(options.directory, 0o700); err != nil {
		return err
	}
	_ = os.Remove(ready)
	if err := startCertManager(ctx, options.controllersOf, options.crds); err != nil {
		fmt.Fprintf(os.Stderr, "cert-manager: %v\n", err)
		return err
	}
	if err := os.WriteFile(ready, nil, 0o600); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}
