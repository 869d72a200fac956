package server

import (
	"context"
	"net/http"

	"github.com/orchd/orchd/api"
)

func (s *Server) showSettings(ctx context.Context, _ *struct{}) (*Reply[api.Settings], error) {
	settings, err := s.backend.Settings(ctx)
	if err != nil {
		return nil, err
	}
	return settingsReply(settings), nil
}

type patchSettingsInput struct {
	Keyed
	Body    SettingsPatch
	RawBody []byte
}

// patchSettings hands on the patch as it came, once its shape is known to be good:
// only there null can be told from nothing.
func (s *Server) patchSettings(ctx context.Context, in *patchSettingsInput) (*Reply[api.Settings], error) {
	settings, err := s.backend.PatchSettings(ctx, in.RawBody)
	if err != nil {
		return nil, err
	}
	return settingsReply(settings), nil
}

// settingsReply leaves out what may only be written.
func settingsReply(settings api.Settings) *Reply[api.Settings] {
	settings.Auth.JWTSecret = nil
	return &Reply[api.Settings]{Status: http.StatusOK, Body: settings}
}

// SettingsPatch is the body of PATCH /v1/settings; null gives a setting its default again.
type SettingsPatch struct {
	Voters   *int                  `json:"voters,omitempty" minimum:"1" maximum:"5" nullable:"true" doc:"How many peers should vote: 1, 3 or 5"`
	Snapshot SnapshotSettingsPatch `json:"snapshot,omitzero"`
	History  HistorySettingsPatch  `json:"history,omitzero"`
	Trust    TrustSettingsPatch    `json:"trust,omitzero"`
	Auth     AuthSettingsPatch     `json:"auth,omitzero"`
}

// SnapshotSettingsPatch changes when marked snapshots are taken and which stay.
type SnapshotSettingsPatch struct {
	Interval *string `json:"interval,omitempty" nullable:"true" doc:"Between two marked snapshots, as in 1h; 0s: only on demand"`
	Retain   *int    `json:"retain,omitempty" nullable:"true" minimum:"1" maximum:"100000" doc:"How many of the newest stay"`
	Daily    *int    `json:"daily,omitempty" nullable:"true" minimum:"0" maximum:"100000" doc:"For how many days the first of each day stays"`
	Monthly  *int    `json:"monthly,omitempty" nullable:"true" minimum:"0" maximum:"100000" doc:"For how many months the first of each month stays"`
}

// HistorySettingsPatch changes how long changes are kept.
type HistorySettingsPatch struct {
	RetainFor *string `json:"retain_for,omitempty" nullable:"true" doc:"How long changes are kept, as in 9600h"`
}

// TrustSettingsPatch changes who must be vouched for.
type TrustSettingsPatch struct {
	JoinWeight  *int `json:"join_weight,omitempty" nullable:"true" minimum:"0" maximum:"100000" doc:"What the key must weigh that signs a newcomer's request to join; 0: none is asked for"`
	ImageWeight *int `json:"image_weight,omitempty" nullable:"true" minimum:"0" maximum:"100000" doc:"What the key must weigh that signs the sum of an image; 0: none is asked for"`
}

// AuthSettingsPatch changes who may speak on the routes of the inventory.
type AuthSettingsPatch struct {
	JWTSecret     *string   `json:"jwt_secret,omitempty" nullable:"true" maxLength:"65536" doc:"HS256 secrets, one a line; empty takes them away"`
	JWKS          *string   `json:"jwks,omitempty" nullable:"true" doc:"Public keys as a JWK set, or the URL of one"`
	Issuer        *string   `json:"issuer,omitempty" nullable:"true"`
	Audience      *string   `json:"audience,omitempty" nullable:"true"`
	AnonymousRead *bool     `json:"anonymous_read,omitempty" nullable:"true"`
	SMDAnonymous  *bool     `json:"smd_anonymous,omitempty" nullable:"true"`
	JWTRole       *api.Role `json:"jwt_role,omitempty" nullable:"true" enum:"viewer,controller,operator,admin"`
}
