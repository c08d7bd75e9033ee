BEGIN TRANSACTION;
CREATE TABLE buckets (
	account TEXT NOT NULL, 
	level FLOAT NOT NULL, 
	at FLOAT NOT NULL, 
	PRIMARY KEY (account)
);
INSERT INTO "buckets" VALUES('https://api.channable.com/1001',42.5,1780000000.0);
INSERT INTO "buckets" VALUES('https://api.channable.com/1002',0.0,1780000001.5);
CREATE TABLE invoices (
	id INTEGER NOT NULL, 
	account TEXT NOT NULL, 
	project_id BIGINT NOT NULL, 
	reference TEXT NOT NULL, 
	sha256 TEXT NOT NULL, 
	order_id BIGINT, 
	inbox TEXT NOT NULL, 
	file TEXT NOT NULL, 
	size BIGINT NOT NULL, 
	state TEXT NOT NULL, 
	first_seen FLOAT NOT NULL, 
	changed FLOAT NOT NULL, 
	attempts INTEGER NOT NULL, 
	next_try FLOAT, 
	delay FLOAT NOT NULL, 
	detail TEXT, 
	reason TEXT, 
	doubt_since FLOAT, 
	looks INTEGER NOT NULL, 
	attachment_id BIGINT, 
	uploaded_at FLOAT, 
	filed_as TEXT, 
	pages INTEGER, 
	pdf_version TEXT, 
	producer TEXT, 
	pdfa TEXT, 
	einvoice TEXT, 
	PRIMARY KEY (id), 
	UNIQUE (account, project_id, reference, sha256)
);
INSERT INTO "invoices" VALUES(1,'https://api.channable.com/1001',2001,'302-1','0101010101010101010101010101010101010101010101010101010101010101',NULL,'default','1.pdf',400001,'received',1780000000.375,1780000000.875,0,1780000060.625,60.0,'the order may still be imported',NULL,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "invoices" VALUES(2,'https://api.channable.com/1001',2001,'2','0202020202020202020202020202020202020202020202020202020202020202',2,'default','2.pdf',400002,'uploading',1780000001.125,1780000001.625,1,NULL,0.0,NULL,NULL,1780000001.375,0,NULL,NULL,NULL,2,'1.7','O''Brien Büro 7','3B','factur-x.xml');
INSERT INTO "invoices" VALUES(3,'https://api.channable.com/1001',2001,'3','0303030303030303030303030303030303030303030303030303030303030303',3,'default','3.pdf',400003,'uploading',1780000001.875,1780000003.375,1,1780000008.125,2.0,'no answer in time',NULL,1780000002.125,1,NULL,NULL,NULL,2,'1.7','O''Brien Büro 7','3B','factur-x.xml');
INSERT INTO "invoices" VALUES(4,'https://api.channable.com/1001',2001,'4','0404040404040404040404040404040404040404040404040404040404040404',4,'default','4.pdf',400004,'uploaded',1780000003.625,1780000004.625,1,NULL,0.0,NULL,NULL,NULL,0,104,1780000004.375,NULL,2,'1.7','O''Brien Büro 7','3B','factur-x.xml');
INSERT INTO "invoices" VALUES(5,'https://api.channable.com/1001',2001,'5','0505050505050505050505050505050505050505050505050505050505050505',5,'default','5.pdf',400005,'uploaded',1780000004.875,1780000005.875,1,NULL,0.0,'the invoice number is unusual',NULL,NULL,0,105,1780000005.625,NULL,2,'1.7','O''Brien Büro 7','3B','factur-x.xml');
INSERT INTO "invoices" VALUES(6,'https://api.channable.com/1001',2001,'6','0606060606060606060606060606060606060606060606060606060606060606',6,'default','6.pdf',400006,'processed',1780000006.125,1780000007.375,1,NULL,0.0,NULL,NULL,NULL,0,106,1780000006.875,'/srv/invoices/processed/6.pdf',2,'1.7','O''Brien Büro 7','3B','factur-x.xml');
INSERT INTO "invoices" VALUES(7,'https://api.channable.com/1001',2001,'7','0707070707070707070707070707070707070707070707070707070707070707',7,'default','7.pdf',400007,'processed',1780000007.625,1780000008.875,1,NULL,0.0,NULL,NULL,NULL,0,107,1780000008.375,NULL,2,'1.7','O''Brien Büro 7','3B','factur-x.xml');
INSERT INTO "invoices" VALUES(8,'https://api.channable.com/1001',2001,'0006','0606060606060606060606060606060606060606060606060606060606060606',6,'default','0006.pdf',400006,'processed',1780000009.375,1780000010.125,0,NULL,0.0,NULL,NULL,NULL,0,106,1780000009.625,'/srv/invoices/processed/0006.pdf',2,'1.7','O''Brien Büro 7','3B','factur-x.xml');
INSERT INTO "invoices" VALUES(9,'https://api.channable.com/1001',2001,'8','0808080808080808080808080808080808080808080808080808080808080808',8,'default','8.pdf',400008,'rejected',1780000010.375,1780000010.625,0,NULL,0.0,'the xref table is broken','damaged',NULL,0,NULL,NULL,NULL,2,'1.7','O''Brien Büro 7','3B','factur-x.xml');
INSERT INTO "invoices" VALUES(10,'https://api.channable.com/1001',2001,'9','0909090909090909090909090909090909090909090909090909090909090909',9,'default','9.pdf',400009,'rejected',1780000010.875,1780000012.125,1,NULL,900.0,'41 tries; the last one: no answer in time','gave_up',1780000011.125,0,NULL,NULL,NULL,2,'1.7','O''Brien Büro 7','3B','factur-x.xml');
INSERT INTO "invoices" VALUES(11,'https://api.channable.com/1001',2001,'','unread:12:1780000000000000000:nonsense.pdf',NULL,'default','nonsense.pdf',12,'rejected',1780000012.375,1780000012.625,0,NULL,0.0,'nonsense','name_without_order',NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "invoices" VALUES(12,'https://api.channable.com/1001',2001,'10','0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a',10,'default','10.pdf',400010,'failed',1780000012.875,1780000013.375,0,NULL,0.0,'HTTP 404','order_not_found',NULL,0,NULL,NULL,'/srv/invoices/failed/10.pdf',2,'1.7','O''Brien Büro 7','3B','factur-x.xml');
INSERT INTO "invoices" VALUES(13,'https://api.channable.com/1001',2001,'11','0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b',11,'default','11.pdf',400011,'failed',1780000013.625,1780000014.625,1,NULL,0.0,'3 days','gave_up',1780000013.875,0,NULL,NULL,NULL,2,'1.7','O''Brien Büro 7','3B','factur-x.xml');
CREATE TABLE schema_version (
	version INTEGER NOT NULL
);
INSERT INTO "schema_version" VALUES(1);
CREATE INDEX invoices_by_order ON invoices (account, project_id, order_id, sha256);
CREATE INDEX invoices_by_state ON invoices (state, changed);
COMMIT;
