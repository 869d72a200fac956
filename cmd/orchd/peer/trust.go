package peer

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/voucher"
	"github.com/orchd/orchd/cluster/ca"
	"github.com/orchd/orchd/fsm"
)

// trustGraph is the service that says what a key weighs.
const trustGraph = "trust-graph"

// demand is a signature that a setting asks for.
type demand struct {
	op      string
	setting string // its name
	weight  int    // that the key must have; 0: nothing is asked for
	text    string // that must be signed
	advice  string // to who has signed nothing
}

// joinVouched refuses a newcomer that nobody vouches for, where the settings ask for that.
func (p *Peer) joinVouched(ctx context.Context, r api.JoinRequest, public []byte) error {
	settings, err := p.Settings(ctx)
	if err != nil {
		return err
	}
	text, err := p.joinText(r, public)
	if err != nil {
		return err
	}
	return p.vouched(ctx, r.Voucher, demand{op: "join", setting: fsm.SettingTrustJoin, weight: settings.Trust.JoinWeight,
		text: text, advice: "join with: orchd join ADDR --trust-key FILE"})
}

// joinText is what must be signed: with the pin of the CA that the newcomer's token
// names, which is any that is trusted.
func (p *Peer) joinText(r api.JoinRequest, public []byte) (text string, err error) {
	trusted, err := ca.ParseCerts(authorities(p.machine.Read()))
	if err != nil {
		return "", err
	}
	for _, a := range trusted {
		text = voucher.JoinText(ca.HashOf(a), public, r.Name)
		if r.Voucher != nil && voucher.Verify(*r.Voucher, text) == nil {
			break
		}
	}
	return text, nil
}

// imageVouched refuses an image whose content nobody vouches for, where the settings ask
// for that. Content that orchd does not check can have no signature that means anything.
func (p *Peer) imageVouched(ctx context.Context, c api.ImageCreate) error {
	const op = "image.create"
	settings, err := p.Settings(ctx)
	if err != nil || settings.Trust.ImageWeight == 0 {
		return err
	}
	switch {
	case c.Kind == api.ImageKernel || c.Source == api.SourcePath:
		return api.Errorf(api.Forbidden, op, "%s is %d: images must be signed, and files that lie on the peers cannot be, because orchd does not check their content; upload it, or name the one peer that has it",
			fsm.SettingTrustImage, settings.Trust.ImageWeight)
	case c.SHA256 == "":
		return &api.Error{Kind: api.Invalid, Op: op, Msg: "the image is not valid",
			Fields: []api.FieldError{{Pointer: "/sha256", Detail: fmt.Sprintf("is required while %s is %d: it is what is signed", fsm.SettingTrustImage, settings.Trust.ImageWeight)}}}
	}
	return p.vouched(ctx, c.Voucher, demand{op: op, setting: fsm.SettingTrustImage, weight: settings.Trust.ImageWeight,
		text: voucher.ImageText(c.SHA256), advice: "make the image with: orchd image create NAME --trust-key FILE"})
}

// vouched refuses what is not signed with a key that weighs as much as is demanded.
// Forbidden says why, Unavailable that the weight cannot be told just now.
func (p *Peer) vouched(ctx context.Context, v *api.Voucher, d demand) error {
	switch {
	case d.weight == 0:
		return nil
	case v == nil:
		return api.Errorf(api.Forbidden, d.op, "%s is %d, and nobody has signed this; %s, with a key that weighs as much (orchd trust weight KEY)", d.setting, d.weight, d.advice)
	}
	if err := voucher.Verify(*v, d.text); err != nil {
		return api.Errorf(api.Forbidden, d.op, "%s is %d, and what has been signed is something else: %v; %s", d.setting, d.weight, err, d.advice)
	}
	weight, err := p.weightOf(ctx, d, v.Key)
	if err == nil && weight < d.weight {
		return api.Errorf(api.Forbidden, d.op, "key %s weighs %d, and %s asks for %d; get a certificate for it from somebody who weighs more than that: orchd trust certify --for KEY", v.Key, weight, d.setting, d.weight)
	}
	return err
}

// weightOf asks what a key weighs. It is asked in the peer's own name: whoever wants to
// join has no role yet.
func (p *Peer) weightOf(ctx context.Context, d demand, key string) (int, error) {
	service, ok := p.machine.Read().ServiceAt(api.ScopeCluster, trustGraph)
	if !ok {
		return 0, api.Errorf(api.Unavailable, d.op, "%s is %d, and there is no service %s that says what a key weighs; enable that package on a peer (system_services.enable), or ask for nothing: orchd settings set %s=0", d.setting, d.weight, trustGraph, d.setting)
	}
	args, err := json.Marshal(map[string]string{"key": key})
	if err != nil {
		return 0, err
	}
	result, err := p.services.Call(p.asPeer(ctx), service, "get_weight", args)
	if err != nil {
		return 0, api.Errorf(api.Unavailable, d.op, "what key %s weighs cannot be told, and %s is %d: %w", key, d.setting, d.weight, err)
	}
	var answer struct {
		Weight *int `json:"weight"`
	}
	if err := json.Unmarshal(result, &answer); err != nil || answer.Weight == nil {
		return 0, api.Errorf(api.Unavailable, d.op, "%s answers %.100s for key %s, which is no weight; is it the package that comes with orchd?", trustGraph, result, key)
	}
	return *answer.Weight, nil
}
