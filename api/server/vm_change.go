package server

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/orchd/orchd/api"
)

type replaceVMInput struct {
	VMRef
	Keyed
	Matching
	Body api.VMUpdate
}

func (s *Server) replaceVM(ctx context.Context, in *replaceVMInput) (*Reply[Stored[api.VM]], error) {
	if err := invalid("vm.replace", updateErrors(in.Body)); err != nil {
		return nil, err
	}
	vm, err := s.targetVM(ctx, in.VMRef)
	if err != nil {
		return nil, err
	}
	done, err := s.backend.UpdateVM(ctx, vm.ID, in.version, in.Body)
	if err != nil {
		return nil, err
	}
	return vmReply(http.StatusOK, done), nil
}

// updateErrors is what the schema cannot say of an update.
func updateErrors(u api.VMUpdate) []api.FieldError {
	bad := labelErrors("/labels", u.Labels)
	if u.Name != "" {
		bad = append(bad, nameErrors("/name", u.Name)...)
	}
	return bad
}

type patchVMInput struct {
	VMRef
	Keyed
	Matching
	Body VMPatch
}

// VMPatch is the body of PATCH /v1/vms/{id}.
type VMPatch struct {
	Name      string                    `json:"name,omitempty" doc:"New name, unique in the account. The domain on the host takes it at its next start" maxLength:"63"`
	Labels    labelPatch                `json:"labels,omitzero" doc:"null removes a label, or all of them"`
	Protected member[bool]              `json:"protected,omitzero" doc:"It cannot be deleted until this is taken off"`
	Restart   member[api.RestartPolicy] `json:"restart,omitzero" doc:"null: the default, on-failure" enum:"always,on-failure,never"`
}

// apply is what the virtual machine is to be with the patch laid over it.
func (p VMPatch) apply(vm api.VM) api.VMUpdate {
	return api.VMUpdate{Name: p.Name, Labels: p.Labels.apply(vm.Labels), Protected: p.Protected.over(vm.Protected), Restart: p.Restart.over(vm.Spec.Restart)}
}

// labelPatch is a merge patch of labels.
type labelPatch struct {
	clear   bool
	changes map[string]*string
}

// UnmarshalJSON tells null from nothing.
func (p *labelPatch) UnmarshalJSON(b []byte) error {
	p.clear = string(b) == "null"
	return json.Unmarshal(b, &p.changes)
}

// Schema is an object of strings and nulls.
func (p labelPatch) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeObject, Nullable: true, MaxProperties: new(64),
		AdditionalProperties: &huma.Schema{Type: huma.TypeString, Nullable: true}}
}

// apply gives the labels that come of old ones.
func (p labelPatch) apply(old map[string]string) map[string]string {
	labels := map[string]string{}
	if !p.clear {
		maps.Copy(labels, old)
	}
	for key, value := range p.changes {
		if value == nil {
			delete(labels, key)
		} else {
			labels[key] = *value
		}
	}
	return labels
}

// patchVM writes what the patch makes of a virtual machine against the version that it
// read; when someone was faster and the caller named no version, it reads again.
func (s *Server) patchVM(ctx context.Context, in *patchVMInput) (*Reply[Stored[api.VM]], error) {
	if err := invalid("vm.patch", updateErrors(in.Body.apply(api.VM{}))); err != nil {
		return nil, err
	}
	done, err := retried(ctx, "vm.patch", in.version, func(ctx context.Context) (Done[api.VM], error) {
		vm, err := s.targetVM(ctx, in.VMRef)
		if err != nil {
			return Done[api.VM]{}, err
		}
		return s.backend.UpdateVM(ctx, vm.ID, cmp.Or(in.version, vm.Version), in.Body.apply(vm))
	})
	if err != nil {
		return nil, err
	}
	return vmReply(http.StatusOK, done), nil
}
