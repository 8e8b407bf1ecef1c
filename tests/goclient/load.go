package main

import (
	"context"
	"errors"
	"flag"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	pb "istio.io/api/security/v1alpha1"
)

// maxDistinct bounds the CSRs that are made beforehand. A CA may answer a CSR that it has seen within the last minute from
// memory, so a load that repeats itself measures that instead.
const maxDistinct = 16384

// plan is the flags of the load verb.
type plan struct {
	target
	san, sanFile, keyKind, pids         string
	conns, concurrency, n, csrs, warmup int
	ttl                                 int64
	fresh                               bool
	timeout                             time.Duration
}

func (p *plan) bind(s *flag.FlagSet) {
	p.target.bind(s)
	s.StringVar(&p.san, "san", "spiffe://cluster.local/ns/foo/sa/bar", "URI SAN of every CSR")
	s.StringVar(&p.sanFile, "san-file", "", "file with one URI SAN a line, taken in turn like the tokens, instead of -san")
	s.StringVar(&p.keyKind, "key", "ec", "ec (P-256, ztunnel's CSR) or rsa (2048, the agent's CSR)")
	s.StringVar(&p.pids, "pid", "", "process ids, comma-separated, whose CPU time is charged")
	s.IntVar(&p.conns, "conns", 8, "shared connections")
	s.IntVar(&p.concurrency, "concurrency", 32, "calls in flight")
	s.IntVar(&p.n, "n", 2000, "measured calls")
	s.IntVar(&p.csrs, "csrs", 0, "distinct CSRs, each with a key of its own; 0: as many as -n, at most 16384")
	s.IntVar(&p.warmup, "warmup", 0, "calls before the measurement; 0: one a connection, negative: none")
	s.Int64Var(&p.ttl, "ttl", 3600, "validity_duration in seconds")
	s.BoolVar(&p.fresh, "fresh", false, "open a TLS connection for every call; its handshake is measured too")
	s.DurationVar(&p.timeout, "timeout", 10*time.Second, "deadline of each call")
}

func (p *plan) check() error {
	if p.conns < 1 || p.concurrency < 1 || p.n < 1 || p.csrs < 0 {
		return errors.New("-conns, -concurrency and -n must be positive, -csrs not negative")
	}
	if p.csrs == 0 {
		p.csrs = min(p.n, maxDistinct)
	}
	if p.warmup == 0 {
		p.warmup = p.conns
	}
	p.warmup = max(p.warmup, 0)
	return nil
}

func load(args []string) (any, error) {
	p := &plan{}
	s := flag.NewFlagSet("load", flag.ContinueOnError)
	p.bind(s)
	if err := parse(s, args); err != nil {
		return nil, err
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	g, err := newGenerator(p)
	if err != nil {
		return nil, err
	}
	defer g.close()
	return g.measure()
}

// generator is a plan with all that must be ready before the clock starts.
type generator struct {
	plan
	warming, measured []job
	dial              func() (*grpc.ClientConn, error)
	shared            []*grpc.ClientConn
	seen              *wire
}

func newGenerator(p *plan) (*generator, error) {
	g := &generator{plan: *p, seen: newWire(false)}
	var err error
	if g.dial, err = p.dialer(g.seen); err != nil {
		return nil, err
	}
	// The warm-up has CSRs of its own, or the server would have seen the first measured ones before.
	made, err := p.prepare(p.csrs + min(p.warmup, maxDistinct))
	if err != nil {
		return nil, err
	}
	g.measured, g.warming = made[:p.csrs], made[p.csrs:]
	for len(g.shared) < p.conns {
		conn, err := g.dial()
		if err != nil {
			return nil, err
		}
		g.shared = append(g.shared, conn)
	}
	return g, nil
}

func (g *generator) close() {
	for _, conn := range g.shared {
		conn.Close()
	}
}

// measure runs the warm-up, then the clock.
func (g *generator) measure() (*report, error) {
	warm := g.rush(g.warmup, g.warming)
	before, err := cpuTicks(g.pids)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	calls := g.rush(g.n, g.measured)
	seconds := time.Since(start).Seconds()
	after, err := cpuTicks(g.pids)
	if err != nil {
		return nil, err
	}
	result := summarize(calls, seconds)
	result.WarmupErrors = summarize(warm, 1).Failed
	result.DistinctCSRs = len(g.measured)
	result.charge(g.pids, after-before)
	result.TLS, result.HandshakeError = g.seen.last()
	return result, nil
}

// rush makes n calls, as many at a time as the plan says, with the jobs in turn.
func (g *generator) rush(n int, jobs []job) []call {
	calls := make([]call, n)
	var next atomic.Int64
	var workers sync.WaitGroup
	for worker := range min(g.concurrency, n) {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				calls[i] = g.timed(worker, jobs[i%len(jobs)])
			}
		})
	}
	workers.Wait()
	return calls
}

func (g *generator) timed(worker int, what job) call {
	start := time.Now()
	err := g.one(g.shared[worker%len(g.shared)], what)
	return call{time.Since(start), err}
}

func (g *generator) one(conn *grpc.ClientConn, what job) error {
	if g.fresh {
		own, err := g.dial()
		if err != nil {
			return err
		}
		defer own.Close()
		conn = own
	}
	ctx, cancel := context.WithTimeout(context.Background(), g.timeout)
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, "ClusterID", g.cluster)
	if what.token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+what.token)
	}
	answer, err := pb.NewIstioCertificateServiceClient(conn).CreateCertificate(
		ctx, &pb.IstioCertificateRequest{Csr: what.csr, ValidityDuration: g.ttl})
	if err == nil && len(answer.GetCertChain()) < 2 {
		return errShortChain
	}
	return err
}

// errShortChain: the agent takes such an answer for a failure, so a benchmark must not count it as work done.
var errShortChain = errors.New("fewer than 2 elements in cert_chain")

func codeOf(err error) string {
	if errors.Is(err, errShortChain) {
		return "ShortChain"
	}
	return status.Code(err).String()
}
