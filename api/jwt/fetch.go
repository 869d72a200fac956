package jwt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

const (
	fetchTime  = 5 * time.Second  // for one fetch, from the name to the last byte
	fetchEvery = 15 * time.Minute // in the background
	fetchPause = time.Minute      // at least, between two fetches that unknown keys cause
	firstPause = 5 * time.Second  // the same while no key was ever fetched
	maxSet     = 256 << 10        // bytes of a JWK set
	maxHops    = 3                // redirects
)

// Run fetches the keys at Config.JWKSURL now and every 15 minutes, until ctx ends.
// failed is told of each fetch that brought none; the keys at hand stay.
func (v *Verifier) Run(ctx context.Context, failed func(error)) {
	if v.cfg.JWKSURL == "" {
		return
	}
	tick := time.NewTicker(fetchEvery)
	defer tick.Stop()
	for {
		v.fetching.Lock()
		err := v.fetchLocked(ctx)
		v.fetching.Unlock()
		if err != nil && ctx.Err() == nil {
			failed(err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// refresh fetches the keys for a token whose key is not known, unless that was
// done a moment ago: anybody can send tokens that name unknown keys.
func (v *Verifier) refresh(ctx context.Context, h header) error {
	v.fetching.Lock()
	defer v.fetching.Unlock()
	if v.known(h).hasNamed(h) {
		return nil // somebody fetched it while this waited
	}
	pause := fetchPause
	if v.found.Load() == nil {
		pause = firstPause
	}
	if since := v.cfg.Now().Sub(v.tried); since >= 0 && since < pause {
		return errors.New("asked for a moment ago")
	}
	// A client that hangs up must not cost the others this fetch.
	return v.fetchLocked(context.WithoutCancel(ctx))
}

func (v *Verifier) fetchLocked(ctx context.Context) error {
	defer func() { v.tried = v.cfg.Now() }() // once it is over: those who waited for it do not ask again
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	ks, err := v.fetch(ctx)
	if err != nil {
		return fmt.Errorf("fetch keys from %s: %w", v.cfg.JWKSURL, err)
	}
	v.found.Store(&ks)
	return nil
}

func (v *Verifier) fetch(ctx context.Context) (keys, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, v.cfg.JWKSURL, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "application/jwk-set+json, application/json")
	response, err := v.cfg.Client.Do(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answers %s", response.Status)
	}
	doc, err := io.ReadAll(io.LimitReader(response.Body, maxSet+1))
	if err != nil {
		return nil, err
	}
	if len(doc) > maxSet {
		return nil, fmt.Errorf("it is larger than %d KiB", maxSet>>10)
	}
	return parseKeys(doc)
}

// onlySafeRedirects follows a few redirects, and none to where keys would come unprotected.
func onlySafeRedirects(r *http.Request, via []*http.Request) error {
	if len(via) > maxHops {
		return fmt.Errorf("more than %d redirects", maxHops)
	}
	return ValidURL(r.URL.String())
}
