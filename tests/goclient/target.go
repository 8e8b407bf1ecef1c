package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
)

// target is where to connect and how: the flags that all verbs share.
type target struct {
	addr, root, serverName, profile string
	clientCert, clientKey           string
	tokenFile, cluster              string
	ping, pingTimeout               time.Duration
	pingIdle                        bool
}

func (f *target) bind(s *flag.FlagSet) {
	s.StringVar(&f.addr, "addr", "", "host:port of the server")
	s.StringVar(&f.root, "root", "", "file with the PEM roots of the serving certificate")
	s.StringVar(&f.serverName, "server-name", "", "name to ask for and to verify; the host of -addr when empty")
	s.StringVar(&f.profile, "tls", "default", "default, tls12-fips, tls13-aesgcm, pqc or tls11")
	s.StringVar(&f.clientCert, "client-cert", "", "file with the PEM client certificate and its intermediates")
	s.StringVar(&f.clientKey, "client-key", "", "file with the PEM key of -client-cert")
	s.StringVar(&f.tokenFile, "token-file", "", "file with one token a line; without it no authorization is sent")
	s.StringVar(&f.cluster, "cluster", "Kubernetes", "value of the ClusterID metadata")
	s.DurationVar(&f.ping, "keepalive", 30*time.Second, "silence before a ping; grpc-go raises less than 10s to 10s")
	s.DurationVar(&f.pingTimeout, "keepalive-timeout", 10*time.Second, "wait for the ping's answer")
}

// parse reads args and refuses what is left over: a mistyped flag must not end as a silently different run.
func parse(s *flag.FlagSet, args []string) error {
	if err := s.Parse(args); err != nil {
		return err
	}
	if s.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", s.Arg(0))
	}
	return nil
}

// dialer gives a function that makes one more channel. Nothing is connected before the first call on it.
func (f *target) dialer(seen *wire) (func() (*grpc.ClientConn, error), error) {
	if f.addr == "" {
		return nil, errors.New("-addr is missing")
	}
	config, err := f.config()
	if err != nil {
		return nil, err
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(watchedCreds{credentials.NewTLS(config), seen}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time: f.ping, Timeout: f.pingTimeout, PermitWithoutStream: f.pingIdle,
		}),
		grpc.WithNoProxy(),
	}
	return func() (*grpc.ClientConn, error) { return grpc.NewClient(f.addr, options...) }, nil
}

// lines gives the words of a file, one a line; none when no file is named.
func lines(file string) ([]string, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	found := strings.Fields(string(text))
	if len(found) == 0 {
		return nil, fmt.Errorf("%s is empty", file)
	}
	return found, nil
}
