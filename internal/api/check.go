package api

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/millrace/millrace/internal/ivs"
	"github.com/millrace/millrace/internal/store"
)

// A checker holds the first constraint that a request breaks. SDKs check
// neither patterns nor maximums, so all of them are checked here.
type checker struct {
	operation string
	scope     store.Scope
	broken    error // a Validation error; it goes before
	clash     error // Conflict: members that exclude each other
	foreign   error // NotFound: a resource of another account or region
}

func (c *checker) err() error { return cmp.Or(c.broken, c.clash, c.foreign) }

func (c *checker) fail(format string, args ...any) {
	if c.broken == nil {
		c.broken = ivs.Errorf(ivs.Validation, format, args...)
	}
}

// missing refuses a request without a member that its operation requires, in the
// words of AWS.
func (c *checker) missing(member string) {
	c.fail("%s.%s is a required attribute", c.operation, member)
}

// arn requires v to be the ARN of a resource of type typ in the caller's scope.
func (c *checker) arn(member, v, typ string) {
	if v == "" {
		c.missing(member)
		return
	}
	a, ok := ivs.ParseARN(v)
	if !ok || a.Type != typ {
		c.fail("%s must be an ARN of the form arn:aws:ivs:<region>:<account>:%s/<id>", member, typ)
		return
	}
	if c.foreign == nil && !inScope(c.scope, a) {
		c.foreign = ivs.NoSuch(v)
	}
}

// resource requires v to be the ARN of something of the caller's that can have
// tags. What type that is, the store decides.
func (c *checker) resource(member, v string) {
	if a, ok := ivs.ParseARN(v); ok {
		c.arn(member, v, a.Type)
		return
	}
	c.fail("%s must be an ARN of the form arn:aws:ivs:<region>:<account>:<type>/<id>", member)
}

// inScope reports whether the caller can have such a resource.
func inScope(s store.Scope, a ivs.ARN) bool { return a.Account == s.Account && a.Region == s.Region }

// reference allows "" as well, which detaches.
func (c *checker) reference(member string, v *string, typ string) {
	if v == nil || *v == "" {
		return
	}
	if a, ok := ivs.ParseARN(*v); !ok || a.Type != typ {
		c.fail("%s must be empty or an ARN of the form arn:aws:ivs:<region>:<account>:%s/<id>", member, typ)
	}
}

// arns requires 1 to 50 ARNs of type typ, of whatever scope.
func (c *checker) arns(member string, list []string, typ string) {
	if len(list) < 1 || len(list) > 50 {
		c.fail("%s must have 1 to 50 items, not %d", member, len(list))
	}
	for _, v := range list {
		if a, ok := ivs.ParseARN(v); !ok || a.Type != typ {
			c.fail("each item of %s must be an ARN of the form arn:aws:ivs:<region>:<account>:%s/<id>", member, typ)
		}
	}
}

// name allows 0 to 128 letters, digits, hyphens and underscores.
func (c *checker) name(member string, v *string) {
	if v == nil {
		return
	}
	if len(*v) > 128 || strings.IndexFunc(*v, notNameChar) >= 0 {
		c.fail("%s must be at most 128 characters of a-z, A-Z, 0-9, - and _", member)
	}
}

func notNameChar(r rune) bool { return !isAlnum(r) && r != '-' && r != '_' }

func isAlnum(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
}

func (c *checker) oneOf(member string, v *string, values ...string) {
	if v != nil && !slices.Contains(values, *v) {
		c.fail("%s must be one of %s", member, strings.Join(values, ", "))
	}
}

// eachOneOf allows a list of the values.
func (c *checker) eachOneOf(member string, list []string, values ...string) {
	for i := range list {
		c.oneOf("each item of "+member, &list[i], values...)
	}
}

// within allows least to most.
func (c *checker) within(member string, v *int, least, most int) {
	if v != nil && (*v < least || *v > most) {
		c.fail("%s must be between %d and %d, not %d", member, least, most, *v)
	}
}

// streamID allows what IVS calls a stream: st- and 23 letters or digits.
func (c *checker) streamID(member string, v *string) {
	if v == nil {
		return
	}
	rest, ok := strings.CutPrefix(*v, "st-")
	if !ok || len(rest) != 23 || strings.IndexFunc(rest, func(r rune) bool { return !isAlnum(r) }) >= 0 {
		c.fail("%s must be st- and 23 letters or digits", member)
	}
}

const (
	maxTags        = 50
	maxTagKeyLen   = 128 // characters
	maxTagValueLen = 256
)

// tags allows what every AWS service does: 50 tags, with keys that do not
// begin with aws:.
func (c *checker) tags(tags map[string]string) {
	if len(tags) > maxTags {
		c.fail("tags must have at most %d entries, not %d", maxTags, len(tags))
	}
	for k, v := range tags {
		c.tagKey(k)
		if utf8.RuneCountInString(v) > maxTagValueLen || strings.IndexFunc(v, notTagChar) >= 0 {
			c.fail("each value of tags must be at most %d letters, digits, spaces and _.:/=+-@", maxTagValueLen)
		}
	}
}

func (c *checker) tagKey(k string) {
	if k == "" || utf8.RuneCountInString(k) > maxTagKeyLen || strings.IndexFunc(k, notTagChar) >= 0 {
		c.fail("each key of tags must be 1 to %d letters, digits, spaces and _.:/=+-@", maxTagKeyLen)
	}
	if len(k) >= 4 && strings.EqualFold(k[:4], "aws:") {
		c.fail("keys of tags must not begin with aws:, which is reserved")
	}
}

func notTagChar(r rune) bool {
	return !unicode.In(r, unicode.L, unicode.Z, unicode.N) && !strings.ContainsRune("_.:/=+-@", r)
}

// pageMembers are the members of every list's request.
type pageMembers struct {
	NextToken  string `json:"nextToken"` // "" means none
	MaxResults *int   `json:"maxResults"`
}

// page checks the members against the list's greatest page size.
func (c *checker) page(p pageMembers, most int) {
	c.within("maxResults", p.MaxResults, 1, most)
	if len(p.NextToken) > 1024 {
		c.fail("nextToken must be at most 1024 characters")
	}
}

// page is the wanted page; size is the list's default.
func (p pageMembers) page(size int) store.Page {
	if p.MaxResults != nil {
		size = *p.MaxResults
	}
	return store.Page{Token: p.NextToken, Max: size}
}

// listInput is the request of lists that have no filter, of 100 a page at most.
type listInput struct{ pageMembers }

func (in *listInput) check(c *checker) { c.page(in.pageMembers, 100) }

// summaries is list as lists show it.
func summaries[T, S any](list []T, summary func(T) S) []S {
	short := make([]S, len(list))
	for i, v := range list {
		short[i] = summary(v)
	}
	return short
}

// newARN names a new resource of the caller.
func newARN(s store.Scope, typ string) string {
	return ivs.ARN{Region: s.Region, Account: s.Account, Type: typ, ID: ivs.NewID()}.String()
}

// cloneTags is tags, never nil.
func cloneTags(tags map[string]string) map[string]string {
	if tags == nil {
		return map[string]string{}
	}
	return maps.Clone(tags)
}
