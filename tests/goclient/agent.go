package main

import (
	"context"
	"crypto"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	pb "istio.io/api/security/v1alpha1"
)

// client is one CSR of one client: the flags of the agent verb.
type client struct {
	target
	csrFlags
	keyOut, chainOut string
	guard            time.Duration
	hold             time.Duration
	holdOver         string
}

// outcome is what the agent verb prints.
type outcome struct {
	Code           string       `json:"code"`
	Text           string       `json:"text"`
	Attempts       int          `json:"attempts"`
	AttemptCodes   []string     `json:"attempt_codes"`
	GaveUp         bool         `json:"gave_up"`
	Seconds        float64      `json:"seconds"`
	Chain          []string     `json:"chain"`
	TLS            *handshake   `json:"tls"`
	HandshakeError string       `json:"handshake_error"`
	Hold           *holdOutcome `json:"hold"`
}

func agent(args []string) (any, error) {
	f := &client{}
	s := flag.NewFlagSet("agent", flag.ContinueOnError)
	f.target.bind(s)
	f.csrFlags.bind(s)
	s.StringVar(&f.keyOut, "key-out", "", "directory to write key.pem to")
	s.StringVar(&f.chainOut, "chain-out", "", "directory to write chain-0.pem, chain-1.pem, ... to")
	s.DurationVar(&f.guard, "guard", time.Minute, "give up after this; the server is not told, as by the real agent")
	s.DurationVar(&f.hold, "hold", 0, "after the call keep the connection this long and watch it")
	s.StringVar(&f.holdOver, "hold-over", "watch", "watch: an open health stream; idle: pings without a stream")
	if err := parse(s, args); err != nil {
		return nil, err
	}
	return f.run()
}

func (f *client) run() (*outcome, error) {
	if f.holdOver != "watch" && f.holdOver != "idle" {
		return nil, fmt.Errorf("-hold-over %q: want watch or idle", f.holdOver)
	}
	f.pingIdle = f.holdOver == "idle"
	key, request, err := f.csrFlags.request()
	if err != nil {
		return nil, err
	}
	seen := newWire(f.hold > 0)
	dial, err := f.dialer(seen)
	if err != nil {
		return nil, err
	}
	conn, err := dial()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	result, err := f.call(conn, request)
	if err != nil {
		return nil, err
	}
	if f.hold > 0 {
		result.Hold = hold(conn, seen, f.holdOver, f.hold)
	}
	result.TLS, result.HandshakeError = seen.last()
	return result, f.save(key, result.Chain)
}

// call sends the CSR by the agent's retry law. Neither the agent nor ztunnel sets a deadline, so none goes on the
// wire here: the guard cancels from outside.
func (f *client) call(conn *grpc.ClientConn, request *pb.IstioCertificateRequest) (*outcome, error) {
	ctx, err := f.metadata(context.Background())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	guard := time.AfterFunc(f.guard, cancel)
	start := time.Now()
	answer, codes, err := retrying(ctx, func() (*pb.IstioCertificateResponse, error) {
		return pb.NewIstioCertificateServiceClient(conn).CreateCertificate(ctx, request)
	})
	last := status.Convert(err)
	return &outcome{
		Code: last.Code().String(), Text: last.Message(), Attempts: len(codes), AttemptCodes: codes,
		GaveUp: !guard.Stop(), Seconds: time.Since(start).Seconds(), Chain: append([]string{}, answer.GetCertChain()...),
	}, nil
}

func (f *client) save(key crypto.Signer, chain []string) error {
	if f.keyOut != "" {
		if key == nil {
			return errors.New("-key-out: the key of a given -csr is not known")
		}
		text, err := keyPEM(key)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(f.keyOut, "key.pem"), text, 0o600); err != nil {
			return err
		}
	}
	if f.chainOut == "" {
		return nil
	}
	for i, element := range chain {
		name := filepath.Join(f.chainOut, fmt.Sprintf("chain-%d.pem", i))
		if err := os.WriteFile(name, []byte(element), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// headers are the -header flags: the CA_HEADER_NAME=value settings of real clients.
type headers []string

func (h *headers) String() string { return strings.Join(*h, " ") }

func (h *headers) Set(pair string) error {
	name, value, ok := strings.Cut(pair, "=")
	if !ok {
		return fmt.Errorf("%q: want name=value", pair)
	}
	*h = append(*h, name, value)
	return nil
}
