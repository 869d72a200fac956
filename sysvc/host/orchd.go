package host

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/orchd/orchd/api"
)

// self tells a script where it runs.
func self(w *world, _ context.Context, _ arguments) (any, error) {
	return map[string]string{"peer": w.cluster().Self(), "scope": w.owner.scope}, nil
}

// read lists rows of a table that was granted, and that the account may see.
func read(w *world, ctx context.Context, a arguments) (any, error) {
	var table string
	var filter map[string]json.RawMessage
	if err := a.all("table", &table, "filter", &filter); err != nil {
		return nil, err
	}
	if granted := w.owner.grants.Read; !slices.Contains(granted, table) && !slices.Contains(granted, "*") {
		return nil, w.notGranted("orchd.read of "+table, `read = ["`+table+`"]`)
	}
	plain := map[string]string{}
	for field, value := range filter {
		var text string
		if json.Unmarshal(value, &text) != nil {
			text = string(value) // true, 5
		}
		plain[field] = text
	}
	if _, err := w.session.view(ctx); err != nil { // waits for what was acknowledged before
		return nil, err
	}
	rows, err := w.cluster().Read(w.asSelf(ctx), table, plain)
	if err != nil {
		return nil, err
	}
	size := 0
	for _, row := range rows {
		size += len(row)
	}
	if size > maxRead {
		return nil, api.Errorf(api.TooLarge, a.function, "the rows of %s have %d bytes together, and a script gets at most %d: narrow the filter", table, size, maxRead)
	}
	if rows == nil {
		rows = []json.RawMessage{}
	}
	return rows, nil
}

// maxRead is how many bytes of rows a script gets at once.
const maxRead = 8 << 20

// whole reads an argument that is a whole resource, as it is in the body of a request.
// Arguments without that name are the resource itself.
func (a arguments) whole(name string, v any) error {
	raw, named := a.by[name]
	if !named {
		var err error
		if raw, err = json.Marshal(a.by); err != nil {
			return err
		}
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return a.wrong("argument %s: %v", name, err)
	}
	return nil
}

// account is the account that something is done for: by default the owner's.
func (w *world) account(a arguments, asked string) (string, error) {
	if asked == "" {
		return w.owner.account, nil
	}
	if !w.owner.mayActFor(asked) {
		return "", w.notGranted(a.function+" for account "+asked, "any_account = true")
	}
	return asked, nil
}

// inAccount reads the arguments name and account.
func (w *world) inAccount(a arguments) (name, account string, err error) {
	if err = a.all("name", &name, "account", &account); err != nil {
		return "", "", err
	}
	if name == "" {
		return "", "", a.wrong("argument name is missing")
	}
	account, err = w.account(a, account)
	return name, account, err
}

func vmCreate(w *world, ctx context.Context, a arguments) (any, error) {
	var c api.VMCreate
	err := a.whole("vm", &c)
	if err != nil {
		return nil, err
	}
	if c.Account, err = w.account(a, c.Account); err != nil {
		return nil, err
	}
	return w.cluster().CreateVM(w.asSelf(ctx), c)
}

func vmDelete(w *world, ctx context.Context, a arguments) (any, error) {
	name, account, err := w.inAccount(a)
	if err != nil {
		return nil, err
	}
	return nil, w.cluster().DeleteVM(w.asSelf(ctx), account, name)
}

func vmAct(w *world, ctx context.Context, a arguments) (any, error) {
	var action string
	if err := a.into("action", &action); err != nil {
		return nil, err
	}
	name, account, err := w.inAccount(a)
	if err != nil {
		return nil, err
	}
	return nil, w.cluster().ActOnVM(w.asSelf(ctx), account, name, action)
}

// dealReport says how a deal is doing. The peer writes it; so here is where the deal
// must be found to be the owner's business.
func dealReport(w *world, ctx context.Context, a arguments) (any, error) {
	var r api.DealReport
	if err := a.whole("report", &r); err != nil {
		return nil, err
	}
	v, err := w.session.view(ctx)
	if err != nil {
		return nil, err
	}
	for deal := range v.Deals() {
		if deal.ID != r.ID {
			continue
		}
		if _, err := w.account(a, deal.Account); err != nil {
			return nil, err
		}
		return nil, w.cluster().ReportDeal(w.asPeer(ctx), r)
	}
	return nil, api.Errorf(api.NotFound, a.function, "there is no deal %q", r.ID)
}

func dealCreate(w *world, ctx context.Context, a arguments) (any, error) {
	var c api.DealCreate
	err := a.whole("deal", &c)
	if err != nil {
		return nil, err
	}
	if c.Account, err = w.account(a, c.Account); err != nil {
		return nil, err
	}
	return w.cluster().CreateDeal(w.asSelf(ctx), c)
}

func dealUpdate(w *world, ctx context.Context, a arguments) (any, error) {
	var u api.DealUpdate
	if err := a.into("update", &u); err != nil {
		return nil, err
	}
	name, account, err := w.inAccount(a)
	if err != nil {
		return nil, err
	}
	return nil, w.cluster().UpdateDeal(w.asSelf(ctx), account, name, u)
}

func dealDelete(w *world, ctx context.Context, a arguments) (any, error) {
	name, account, err := w.inAccount(a)
	if err != nil {
		return nil, err
	}
	return nil, w.cluster().DeleteDeal(w.asSelf(ctx), account, name)
}
