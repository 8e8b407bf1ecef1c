package main

import (
	"fmt"
	"runtime"

	"golang.org/x/sync/errgroup"
)

// job is a CSR and the token that goes with it; the token may be empty.
type job struct{ csr, token string }

// prepare makes count jobs. The i-th takes the i-th SAN and the i-th token, each list from its start again at its end,
// so a file of SANs and a file of tokens can be written side by side.
func (p *plan) prepare(count int) ([]job, error) {
	tokens, err := listed("-token-file", p.tokenFile, "")
	if err != nil {
		return nil, err
	}
	sans, err := listed("-san-file", p.sanFile, p.san)
	if err != nil {
		return nil, err
	}
	csrs, err := p.requests(count, sans)
	if err != nil {
		return nil, err
	}
	jobs := make([]job, count)
	for i, csr := range csrs {
		jobs[i] = job{csr, tokens[i%len(tokens)]}
	}
	return jobs, nil
}

// listed gives the lines of a flag's file, or the one value that stands for a missing file.
func listed(name, file, otherwise string) ([]string, error) {
	found, err := lines(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(found) == 0 {
		found = []string{otherwise}
	}
	return found, nil
}

// requests makes CSRs, each with a key of its own, on all processors.
func (p *plan) requests(count int, sans []string) ([]string, error) {
	keys, err := keySource(p.keyKind, count)
	if err != nil {
		return nil, err
	}
	form := shapes[map[string]string{"ec": "ztunnel", "rsa": "agent"}[p.keyKind]]
	made := make([]string, count)
	var group errgroup.Group
	group.SetLimit(runtime.NumCPU())
	for i := range made {
		group.Go(func() error {
			key, err := keys(i)
			if err != nil {
				return err
			}
			made[i], err = form.csr(key, sans[i%len(sans)])
			return err
		})
	}
	return made, group.Wait()
}
