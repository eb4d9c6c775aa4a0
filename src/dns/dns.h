/* Numbers of the protocol, by the names the RFCs give them. Nothing here is ours. */
#pragma once

enum dns_type {
	DNS_TYPE_A = 1,
	DNS_TYPE_NS = 2,
	DNS_TYPE_CNAME = 5,
	DNS_TYPE_SOA = 6,
	DNS_TYPE_PTR = 12,
	DNS_TYPE_HINFO = 13,
	DNS_TYPE_MX = 15,
	DNS_TYPE_TXT = 16,
	DNS_TYPE_AFSDB = 18,
	DNS_TYPE_RT = 21,
	DNS_TYPE_AAAA = 28,
	DNS_TYPE_SRV = 33,
	DNS_TYPE_NAPTR = 35,
	DNS_TYPE_KX = 36,
	DNS_TYPE_DNAME = 39,
	DNS_TYPE_OPT = 41,
	DNS_TYPE_DS = 43,
	DNS_TYPE_RRSIG = 46,
	DNS_TYPE_NSEC = 47,
	DNS_TYPE_NSEC3 = 50,
	DNS_TYPE_SVCB = 64,
	DNS_TYPE_HTTPS = 65,
	DNS_TYPE_TSIG = 250,
	DNS_TYPE_IXFR = 251,
	DNS_TYPE_AXFR = 252,
	DNS_TYPE_ANY = 255,
};

enum dns_class { DNS_CLASS_IN = 1, DNS_CLASS_CH = 3, DNS_CLASS_ANY = 255 };

enum dns_rcode {
	DNS_NOERROR = 0,
	DNS_FORMERR = 1,
	DNS_SERVFAIL = 2,
	DNS_NXDOMAIN = 3,
	DNS_NOTIMP = 4,
	DNS_REFUSED = 5,
	DNS_YXDOMAIN = 6, /* a DNAME made the name too long (RFC 6672 §2.2) */
	DNS_BADVERS = 16, /* extended: the OPT carries its upper bits (RFC 6891 §6.1.3) */
};

/* Header flags as they stand in bytes 2 and 3 (RFC 1035 §4.1.1, RFC 4035 §3.2). */
enum dns_flag {
	DNS_FLAG_QR = 0x8000,
	DNS_FLAG_AA = 0x0400,
	DNS_FLAG_TC = 0x0200,
	DNS_FLAG_RD = 0x0100,
	DNS_FLAG_RA = 0x0080,
	DNS_FLAG_AD = 0x0020,
	DNS_FLAG_CD = 0x0010,
};
#define DNS_OPCODE_SHIFT 11
#define DNS_OPCODE_MASK 0x7800
#define DNS_RCODE_MASK 0x000f

enum dns_edns_option {
	DNS_OPTION_NSID = 3,
	DNS_OPTION_COOKIE = 10,
	DNS_OPTION_KEEPALIVE = 11,
	DNS_OPTION_PADDING = 12,
	DNS_OPTION_EDE = 15
};

/* Extended DNS Errors (RFC 8914 §4). */
enum dns_ede {
	DNS_EDE_OTHER = 0,
	DNS_EDE_UNSUPPORTED_ALGORITHM = 1,
	DNS_EDE_UNSUPPORTED_DIGEST = 2,
	DNS_EDE_STALE_ANSWER = 3,
	DNS_EDE_BOGUS = 6,
	DNS_EDE_SIGNATURE_EXPIRED = 7,
	DNS_EDE_SIGNATURE_NOT_YET_VALID = 8,
	DNS_EDE_NO_ZONE_KEY = 11,
	DNS_EDE_NSEC_MISSING = 12,
	DNS_EDE_CACHED_ERROR = 13,
	DNS_EDE_NOT_READY = 14,
	DNS_EDE_BLOCKED = 15,
	DNS_EDE_CENSORED = 16,
	DNS_EDE_FILTERED = 17,
	DNS_EDE_PROHIBITED = 18,
	DNS_EDE_STALE_NXDOMAIN = 19,
	DNS_EDE_NO_REACHABLE_AUTHORITY = 22,
	DNS_EDE_NETWORK_ERROR = 23,
	DNS_EDE_NONE = 0xffff, /* ours: no EDE in this reply */
};

#define DNS_HEADER_BYTES 12
#define DNS_NAME_MAX 255 /* wire form, with the root label (RFC 1035 §3.1) */
#define DNS_LABEL_MAX 63
#define DNS_LABELS_MAX 127
#define DNS_MESSAGE_MAX 65535
#define DNS_UDP_PLAIN_MAX 512 /* without EDNS (RFC 1035 §4.2.1) */
#define DNS_UDP_EDNS_MAX 1232 /* what we send and ask for at most (RFC 9715) */
#define DNS_RR_FIXED_BYTES 10 /* type, class, ttl, rdlength */
#define DNS_POINTER_TO_QNAME 0xc00c
