package main

import (
	"context"
	"crypto"
	"flag"
	"fmt"
	"os"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/structpb"
	pb "istio.io/api/security/v1alpha1"
)

// csrFlags say what is asked for.
type csrFlags struct {
	shape, san, file    string
	impersonate, signer string
	ttl                 int64
	headers             headers
}

func (f *csrFlags) bind(s *flag.FlagSet) {
	s.StringVar(&f.shape, "shape", "agent", "agent or ztunnel: whose CSR and metadata to send")
	s.StringVar(&f.san, "san", "spiffe://cluster.local/ns/foo/sa/bar", "URI SAN of the CSR; none when empty")
	s.StringVar(&f.file, "csr", "", "file whose text is sent as the CSR, whatever it is")
	s.StringVar(&f.impersonate, "impersonate", "", "identity for ztunnel's ImpersonatedIdentity metadata")
	s.StringVar(&f.signer, "signer", "", "value of the agent's CertSigner metadata")
	s.Int64Var(&f.ttl, "ttl", 86400, "validity_duration in seconds")
	s.Var(&f.headers, "header", "name=value of one more metadata entry; may be given again")
}

// request makes the message; the key is nil when the CSR came from a file.
func (f *csrFlags) request() (crypto.Signer, *pb.IstioCertificateRequest, error) {
	extra, err := f.extra()
	if err != nil {
		return nil, nil, err
	}
	key, csr, err := f.csr()
	if err != nil {
		return nil, nil, err
	}
	return key, &pb.IstioCertificateRequest{Csr: csr, ValidityDuration: f.ttl, Metadata: extra}, nil
}

func (f *csrFlags) csr() (crypto.Signer, string, error) {
	if f.file != "" {
		text, err := os.ReadFile(f.file)
		return nil, string(text), err
	}
	form, ok := shapes[f.shape]
	if !ok {
		return nil, "", fmt.Errorf("-shape %q: want agent or ztunnel", f.shape)
	}
	key, err := form.newKey()
	if err != nil {
		return nil, "", err
	}
	csr, err := form.csr(key, f.san)
	return key, csr, err
}

// extra is the Struct metadata. The agent always sends its signer name, mostly empty; ztunnel sends none at all
// unless it asks for another's identity.
func (f *csrFlags) extra() (*structpb.Struct, error) {
	fields := map[string]any{}
	if f.shape == "agent" {
		fields["CertSigner"] = f.signer
	}
	if f.impersonate != "" {
		fields["ImpersonatedIdentity"] = f.impersonate
	}
	if len(fields) == 0 {
		return nil, nil
	}
	return structpb.NewStruct(fields)
}

// metadata adds the cluster, the extra headers and the token, if there is one.
func (f *client) metadata(ctx context.Context) (context.Context, error) {
	ctx = metadata.AppendToOutgoingContext(ctx, "ClusterID", f.cluster)
	ctx = metadata.AppendToOutgoingContext(ctx, f.headers...)
	tokens, err := lines(f.tokenFile)
	if err != nil {
		return nil, fmt.Errorf("-token-file: %w", err)
	}
	if len(tokens) > 0 {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+tokens[0])
	}
	return ctx, nil
}
